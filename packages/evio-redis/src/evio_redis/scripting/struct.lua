-- C structures in strings, as the struct library 0.2 has them, which Redis 7.0 brings. Given what sandbox.lua shares;
-- returns the library.
--
-- https://redis.io/docs/latest/develop/interact/programmability/lua-api/#struct-library

local shared = ...

local check, binary, entry, fail = shared.check, shared.binary, shared.entry, shared.fail
local packed, unsigned, signed = binary.packed, binary.unsigned, binary.signed
local select, tonumber, unpack = select, tonumber, unpack
local find, format, match, rep, reverse, sub = string.find, string.format, string.match, string.rep, string.reverse,
  string.sub
local ceil, concat, floor, min = math.ceil, table.concat, math.floor, math.min

local INT_MAX = 2147483647
local ALIGNMENT = 8 -- of "!" without a number
local INTEGER = 4 -- bytes of "i" without a number
local WIDEST = 32 -- bytes of an integer
local WORD = 8 -- bytes of the widest integers of C; wider ones have zeros before them
local MANY = 4000 -- results, beyond which there may be no room on the stack

local SIZES = { b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1 }

local function bits_in_both(one, other)
  local both, place = 0, 1
  while other > 0 do
    if one % 2 == 1 and other % 2 == 1 then both = both + place end
    one, other, place = floor(one / 2), floor(other / 2), place * 2
  end
  return both
end

-- The library aligns by masks, which are odd ones for sizes that are no powers of two.
local function padding_before(position, size)
  if size <= 1 then return 0 end
  return bits_in_both(size - bits_in_both(position, size - 1), size - 1)
end

-- Read the options of a format one by one: a function that returns an option, its size and the bytes of padding before
-- it, given how many bytes are before it. Options that only set something are dealt with here.
-- ``lenient`` lets letters pass that are none.
local function options(text, lenient)
  local state = { little = true }
  local at, alignment = 1, 1

  local function number(default)
    local digits = match(text, "^%d+", at)
    if not digits then return default end
    at = at + #digits
    if tonumber(digits) > INT_MAX then fail("integral size overflow") end
    return tonumber(digits)
  end

  local function set(option)
    if option == ">" then
      state.little = false
    elseif option == "<" then
      state.little = true
    elseif option == "!" then
      local wanted = number(ALIGNMENT)
      local power = 1
      while power < wanted do power = power * 2 end
      if wanted ~= power then fail(format("alignment %d is not a power of 2", wanted)) end
      alignment = wanted
    elseif option ~= " " then
      fail("invalid format option '" .. option .. "'", 1)
    end
  end

  local function following(position)
    while true do
      local option = sub(text, at, at)
      if option == "" or option == "\0" then return nil end
      at = at + 1
      local size = SIZES[option]
      if option == "c" then
        return option, number(1), 0
      elseif option == "s" then
        return option, 0, 0
      elseif option == "i" or option == "I" then
        size = number(INTEGER)
        if size > WIDEST then
          fail(format("integral size %d is larger than limit of %d", size, WIDEST))
        end
      end
      if size then
        return option, size, padding_before(position, min(size, alignment))
      end
      if not (lenient and find(option, "%w")) then set(option) end
    end
  end

  return following, state
end

local function whole(number) -- as C converts a double to 64 bits
  if number ~= number or number < -2 ^ 63 or number >= 2 ^ 64 then return number >= 2 ^ 64 and 0 or -2 ^ 63 end
  return number < 0 and ceil(number) or floor(number)
end

local function integer_bytes(number, size)
  if size == 0 then return "" end
  local text = packed(whole(number), min(size, WORD))
  return size > WORD and rep("\0", size - WORD) .. text or text
end

local struct = {}

struct.pack = entry(function(count, ...)
  local following, state = options(check.string(1, count, (...)))
  local out, position, argument = {}, 0, 2
  local option, size, padding = following(position)
  while option do
    if padding > 0 then out[#out + 1] = rep("\0", padding) end
    local bytes
    if option == "x" then
      bytes = "\0"
    elseif option == "c" or option == "s" then
      bytes = check.string(argument, count + 1, (select(argument, ...)))
      argument = argument + 1
      if size > #bytes then fail("string too short", argument) end
      if size > 0 then bytes = sub(bytes, 1, size) end
      if option == "s" then bytes = bytes .. "\0" end
    else
      local number = check.number(argument, count + 1, (select(argument, ...)))
      argument = argument + 1
      if option == "f" then
        bytes = binary.float(number)
      elseif option == "d" then
        bytes = binary.double(number)
      else
        bytes = integer_bytes(number, size)
      end
      if state.little then bytes = reverse(bytes) end
    end
    out[#out + 1] = bytes
    position = position + padding + #bytes
    option, size, padding = following(position)
  end
  return concat(out)
end)

local function read_integer(bytes, is_signed)
  if bytes == "" then return 0 end
  local size = min(#bytes, WORD)
  return (is_signed and signed or unsigned)(sub(bytes, -size), 1, size)
end

struct.unpack = entry(function(count, text, data, first)
  text = check.string(1, count, text)
  data = check.string(2, count, data)
  local position = first == nil and 1 or check.integer(3, count, first)
  if position == 0 then fail("offset must be 1 or greater", 3) end
  position = position < 0 and INT_MAX * 2 ^ 20 or position - 1 -- C has it as unsigned
  local following, state = options(text)
  local found, values = {}, 0
  local option, size, padding = following(position)
  while option do
    position = position + padding
    if position + size > #data then fail("data string too short", 2) end
    local value
    if option == "c" then
      if size == 0 then
        size = values > 0 and tonumber(found[values])
        if not size then fail("format 'c0' needs a previous size") end
        size = size < 0 and INT_MAX * 2 ^ 20 or floor(size)
        values = values - 1
        if position + size > #data then fail("data string too short", 2) end
      end
      value = sub(data, position + 1, position + size)
    elseif option == "s" then
      local stop = find(data, "\0", position + 1, true)
      if not stop then fail("unfinished string in data") end
      value, size = sub(data, position + 1, stop - 1), stop - position
    elseif option ~= "x" then
      local bytes = sub(data, position + 1, position + size)
      if state.little then bytes = reverse(bytes) end
      if option == "f" then
        value = binary.read_float(bytes, 1)
      elseif option == "d" then
        value = binary.read_double(bytes, 1)
      else
        value = read_integer(bytes, find(option, "%l"))
      end
    end
    if value ~= nil then
      values = values + 1
      if values > MANY then fail("stack overflow (too many results)") end
      found[values] = value
    end
    position = position + size
    option, size, padding = following(position)
  end
  found[values + 1] = position + 1
  return unpack(found, 1, values + 1)
end)

struct.size = entry(function(count, text)
  local following = options(check.string(1, count, text), true)
  local position = 0
  local option, size, padding = following(position)
  while option do
    if option == "s" then fail("option 's' has no fixed size", 1) end
    if option == "c" and size == 0 then fail("option 'c0' has no fixed size", 1) end
    position = position + padding + size
    option, size, padding = following(position)
  end
  return position
end)

return struct
