-- MessagePack as lua-cmsgpack 0.4 has it, which Redis 7.0 brings. Given what sandbox.lua shares; returns the library.
--
-- https://github.com/msgpack/msgpack/blob/master/spec.md

local shared = ...

local behind, check, binary, entry, fail = shared.behind, shared.check, shared.binary, shared.entry, shared.fail
local packed, unsigned, signed = binary.packed, binary.unsigned, binary.signed
local raw_pairs, type, select, error, unpack = pairs, type, select, error, unpack
local byte, char, format, sub = string.byte, string.char, string.format, string.sub
local concat, floor = table.concat, math.floor

local NESTED = 16 -- tables in tables that are packed; those within become nil
local MANY = 4000 -- results of unpack, beyond which there may be no room on the stack

local function pack_integer(number)
  if number >= 0 then
    if number < 0x80 then return char(number) end
    if number < 0x100 then return char(0xCC, number) end
    if number < 0x10000 then return "\205" .. packed(number, 2) end
    if number < 0x100000000 then return "\206" .. packed(number, 4) end
    return "\207" .. packed(number, 8)
  end
  if number >= -0x20 then return char(0x100 + number) end
  if number >= -0x80 then return char(0xD0, 0x100 + number) end
  if number >= -0x8000 then return "\209" .. packed(number, 2) end
  if number >= -0x80000000 then return "\210" .. packed(number, 4) end
  return "\211" .. packed(number, 8)
end

local function pack_float(number)
  local text, exact = binary.float(number)
  if exact then return "\202" .. text end
  return "\203" .. binary.double(number)
end

local function pack_number(number)
  if number == floor(number) and number >= -2 ^ 63 and number < 2 ^ 63 then return pack_integer(number) end
  return pack_float(number)
end

local function head(count, few, fixed, short, long)
  if count < few then return char(fixed + count) end
  if count < 0x10000 then return char(short) .. packed(count, 2) end
  return char(long) .. packed(count, 4)
end

local function pack_string(text)
  local size = #text
  if size >= 0x20 and size < 0x100 then return char(0xD9, size) .. text end
  return head(size, 0x20, 0xA0, 0xDA, 0xDB) .. text
end

-- The table is an array if its keys are 1 to their number.
local function is_array(t)
  local longest, count = 0, 0
  for key in raw_pairs(t) do
    if type(key) ~= "number" or key <= 0 or key ~= floor(key) or key > 2147483647 then return false end
    if key > longest then longest = key end
    count = count + 1
  end
  return longest == count
end

-- Add the bytes of a value to ``count`` pieces; returns how many there are then.
local pack

local function pack_table(t, depth, out, count)
  t = behind[t] or t
  if is_array(t) then
    local size = #t
    count = count + 1
    out[count] = head(size, 0x10, 0x90, 0xDC, 0xDD)
    for at = 1, size do count = pack(t[at], depth + 1, out, count) end
    return count
  end
  local size = 0
  for _ in raw_pairs(t) do size = size + 1 end
  count = count + 1
  out[count] = head(size, 0x10, 0x80, 0xDE, 0xDF)
  for key, value in raw_pairs(t) do
    count = pack(key, depth + 1, out, count)
    count = pack(value, depth + 1, out, count)
  end
  return count
end

function pack(value, depth, out, count)
  local kind = type(value)
  if kind == "table" and depth < NESTED then return pack_table(value, depth, out, count) end
  count = count + 1
  if kind == "string" then
    out[count] = pack_string(value)
  elseif kind == "number" then
    out[count] = pack_number(value)
  elseif kind == "boolean" then
    out[count] = value and "\195" or "\194"
  else
    out[count] = "\192"
  end
  return count
end

-- Unpacking

local function taken(text, at, size)
  if at + size - 1 > #text then fail("Missing bytes in input.") end
end

-- A function that reads a number of so many bytes; as all readers, it returns the position behind, too.
local function number(read, size)
  return function(text, at)
    taken(text, at, size)
    return read(text, at, size), at + size
  end
end

local function text_of(text, at, size)
  taken(text, at, size)
  return sub(text, at, at + size - 1), at + size
end

local value_at

local function array_of(text, at, count)
  local found, value = {}, nil
  for index = 1, count do
    value, at = value_at(text, at)
    found[index] = value
  end
  return found, at
end

local function map_of(text, at, count)
  local found, key, value = {}, nil, nil
  for _ = 1, count do
    key, at = value_at(text, at)
    value, at = value_at(text, at)
    if key == nil then error("table index is nil", 0) end
    if key ~= key then error("table index is NaN", 0) end
    found[key] = value
  end
  return found, at
end

local function sized(make, size)
  return function(text, at)
    taken(text, at, size)
    return make(text, at + size, unsigned(text, at, size))
  end
end

-- Redis reads unsigned integers of eight bytes as signed ones, too.
local READERS = {
  [0xC0] = function(_, at) return nil, at end,
  [0xC2] = function(_, at) return false, at end,
  [0xC3] = function(_, at) return true, at end,
  [0xCA] = number(binary.read_float, 4), [0xCB] = number(binary.read_double, 8),
  [0xCC] = number(unsigned, 1), [0xCD] = number(unsigned, 2), [0xCE] = number(unsigned, 4), [0xCF] = number(signed, 8),
  [0xD0] = number(signed, 1), [0xD1] = number(signed, 2), [0xD2] = number(signed, 4), [0xD3] = number(signed, 8),
  [0xD9] = sized(text_of, 1), [0xDA] = sized(text_of, 2), [0xDB] = sized(text_of, 4),
  [0xDC] = sized(array_of, 2), [0xDD] = sized(array_of, 4),
  [0xDE] = sized(map_of, 2), [0xDF] = sized(map_of, 4),
}

-- The value at a position, and the position behind it.
function value_at(text, at)
  taken(text, at, 1)
  local first = byte(text, at)
  at = at + 1
  if first < 0x80 then return first, at end
  if first < 0x90 then return map_of(text, at, first - 0x80) end
  if first < 0xA0 then return array_of(text, at, first - 0x90) end
  if first < 0xC0 then return text_of(text, at, first - 0xA0) end
  if first >= 0xE0 then return first - 0x100, at end
  local read = READERS[first]
  if not read then fail("Bad data format in input.") end
  return read(text, at)
end

-- Up to ``limit`` values from an offset on, as results; before them the offset behind, -1 at the end, if ``with_offset``.
local function unpacked(text, limit, offset, with_offset)
  if offset < 0 or limit < 0 then
    fail(format("Invalid request to unpack with offset of %d and limit of %d.", offset, #text))
  end
  if offset > #text then fail(format("Start offset %d greater than input length %d.", offset, #text)) end
  local found, count, at, size = {}, 0, offset + 1, #text
  while at <= size and count < limit do
    count = count + 1
    found[count], at = value_at(text, at)
  end
  if count > MANY then fail("too many results to unpack") end
  if with_offset then return at > size and -1 or at - 1, unpack(found, 1, count) end
  return unpack(found, 1, count)
end

local cmsgpack = {
  _NAME = "cmsgpack", _VERSION = "lua-cmsgpack 0.4.0", _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
  _DESCRIPTION = "MessagePack C implementation for Lua",
}

cmsgpack.pack = entry(function(count, ...)
  if count == 0 then fail("MessagePack pack needs input.", 0) end
  local out, pieces = {}, 0
  for at = 1, count do pieces = pack((select(at, ...)), 0, out, pieces) end
  return concat(out)
end)

local ALL = 2147483647

cmsgpack.unpack = entry(function(count, text)
  return unpacked(check.string(1, count, text), ALL, 0)
end)

cmsgpack.unpack_one = entry(function(count, text, offset)
  text = check.string(1, count, text)
  return unpacked(text, 1, offset == nil and 0 or check.integer(2, count, offset), true)
end)

cmsgpack.unpack_limit = entry(function(count, text, limit, offset)
  text = check.string(1, count, text)
  limit = check.integer(2, count, limit)
  offset = offset == nil and 0 or check.integer(3, count, offset)
  local everything = limit == 0 and offset == 0
  return unpacked(text, everything and ALL or limit, offset, not everything)
end)

return cmsgpack
