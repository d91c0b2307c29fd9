-- JSON as lua-cjson 2.1 has it, which Redis 7.0 brings: its errors, its settings and their limits. Returns what makes a
-- new instance, as cjson.new() does. Given what sandbox.lua shares.
--
-- https://redis.io/docs/latest/develop/interact/programmability/lua-api/#cjson-library

local shared = ...

local behind, null, check, entry, fail = shared.behind, shared.null, shared.check, shared.entry, shared.fail
local raw_pairs, raw_get, type, tonumber, tostring = pairs, rawget, type, tonumber, tostring
local byte, char, find, format, gsub, lower, match, sub = string.byte, string.char, string.find, string.format,
  string.gsub, string.lower, string.match, string.sub
local concat, floor = table.concat, math.floor

local INT_MAX = 2147483647
local DEPTH, SPARSE_RATIO, SPARSE_SAFE, PRECISION = 1000, 2, 10, 14

local QUOTE, SLASH, BACKSLASH, COLON, COMMA, MINUS, PLUS = 34, 47, 92, 58, 44, 45, 43
local ZERO, NINE, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT = 48, 57, 91, 93, 123, 125

-- Encoding

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\127"] = "\\u007f",
}

local function escape(c) return ESCAPES[c] or format("\\u%04x", byte(c)) end

local function encode_string(text)
  if find(text, '[%c"\\/\127]') then text = gsub(text, '[%c"\\/\127]', escape) end
  return '"' .. text .. '"'
end

local function cannot(what, why) fail("Cannot serialise " .. what .. ": " .. why) end

local function encode_number(settings, number)
  if number ~= number or number == 1 / 0 or number == -1 / 0 then
    if settings.encode_invalid_numbers == 0 then cannot("number", "must not be NaN or Inf") end
    if settings.encode_invalid_numbers == 2 then return "null" end
    return number ~= number and "nan" or number > 0 and "inf" or "-inf"
  end
  return format(settings.number_format, number)
end

-- The length of a table as an array; nil if it is to be an object.
local function array_length(settings, t)
  local longest, count = 0, 0
  for key in raw_pairs(t) do
    if type(key) ~= "number" or key < 1 or key ~= floor(key) then return nil end
    if key > longest then longest = key end
    count = count + 1
  end
  local ratio = settings.encode_sparse_ratio
  if ratio > 0 and longest > count * ratio and longest > settings.encode_sparse_safe then
    if not settings.encode_sparse_convert then cannot("table", "excessively sparse array") end
    return nil
  end
  return longest > 0 and longest or nil
end

local function encode(settings, value, depth)
  local kind = type(value)
  if kind == "string" then return encode_string(value) end
  if kind == "number" then return encode_number(settings, value) end
  if kind == "boolean" then return value and "true" or "false" end
  if value == nil or value == null then return "null" end
  if kind ~= "table" then cannot(kind, "type not supported") end
  depth = depth + 1
  if depth > settings.encode_max_depth then fail(format("Cannot serialise, excessive nesting (%d)", depth)) end
  local contents = behind[value] or value
  local parts, length = {}, array_length(settings, contents)
  if length then
    for at = 1, length do parts[at] = encode(settings, raw_get(contents, at), depth) end
    return "[" .. concat(parts, ",") .. "]"
  end
  local count = 0
  for key, member in raw_pairs(contents) do
    count = count + 1
    if type(key) == "string" then
      parts[count] = encode_string(key) .. ":" .. encode(settings, member, depth)
    elseif type(key) == "number" then
      parts[count] = '"' .. encode_number(settings, key) .. '":' .. encode(settings, member, depth)
    else
      cannot(type(key), "table key must be a number or string")
    end
  end
  return "{" .. concat(parts, ",") .. "}"
end

-- Decoding. A position is the index of a byte; a byte of 0 is the end, wherever it is.

local NAMES = {
  [OPEN_OBJECT] = "T_OBJ_BEGIN", [CLOSE_OBJECT] = "T_OBJ_END", [OPEN_ARRAY] = "T_ARR_BEGIN",
  [CLOSE_ARRAY] = "T_ARR_END", [COLON] = "T_COLON", [COMMA] = "T_COMMA", [0] = "T_END",
}
local UNESCAPED = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local function wrong(expected, found, at)
  fail(format("Expected %s but found %s at character %d", expected, found, at))
end

-- The position of the next byte that is no white space, and that byte.
local function next_byte(text, at)
  at = find(text, "[^ \t\r\n]", at)
  if not at then return #text + 1, 0 end
  return at, byte(text, at)
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(
    0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40
  )
end

local function hexadecimal(text, at)
  local digits = match(text, "^%x%x%x%x", at)
  return digits and tonumber(digits, 16)
end

-- The characters of \uXXXX at a position, two of them for a surrogate pair, and the position behind; nil if it is none.
local function unicode(text, at)
  local code = hexadecimal(text, at + 2)
  if not code then return nil end
  if code < 0xD800 or code > 0xDFFF then return utf8(code), at + 6 end
  if code > 0xDBFF or sub(text, at + 6, at + 7) ~= "\\u" then return nil end
  local low = hexadecimal(text, at + 8)
  if not low or low < 0xDC00 or low > 0xDFFF then return nil end
  return utf8(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 12
end

-- The string that begins behind the quote at a position, and the position behind it.
local function decode_string(text, at, expected)
  local begin = at + 1
  local stop = find(text, '["\\%z]', begin)
  if stop and byte(text, stop) == QUOTE then return sub(text, begin, stop - 1), stop + 1 end
  local parts, count = {}, 0
  while true do
    if not stop or byte(text, stop) == 0 then
      wrong(expected, "unexpected end of string", stop or #text + 1)
    end
    count = count + 1
    parts[count] = sub(text, begin, stop - 1)
    if byte(text, stop) == QUOTE then return concat(parts), stop + 1 end
    local letter = sub(text, stop + 1, stop + 1)
    local plain = UNESCAPED[letter]
    if plain then
      begin = stop + 2
    elseif letter == "u" then
      plain, begin = unicode(text, stop)
      if not plain then wrong(expected, "invalid unicode escape code", stop) end
    else
      wrong(expected, "invalid escape code", stop)
    end
    count = count + 1
    parts[count] = plain
    stop = find(text, '["\\%z]', begin)
  end
end

-- If a number is none of JSON's: hexadecimal, infinite, not a number, with a plus or leading zeros.
local function is_invalid(text, at)
  return find(text, "^%+", at) or find(text, "^%-?0[xX%d]", at) or find(text, "^%-?[iI][nN][fF]", at)
    or find(text, "^%-?[nN][aA][nN]", at)
end

-- The number that begins at a position, as C's strtod reads it, and the position behind it.
local function strtod(text, at)
  local run = match(text, "^[%w%.%+%-]+", at)
  local number = run and tonumber(run)
  if number and find(text, "^[^%(]", at + #run) then return number, at + #run end
  local sign = match(text, "^[%+%-]?", at)
  local from = at + #sign
  local word = lower(match(text, "^%a*", from))
  local digits
  if sub(word, 1, 3) == "nan" then
    digits = sub(word, 1, 3) .. (match(text, "^%([%w_]*%)", from + 3) or "")
    return tonumber(sign .. "nan"), from + #digits
  end
  if sub(word, 1, 3) == "inf" then
    digits = sub(word, 1, 8) == "infinity" and "infinity" or "inf"
    return tonumber(sign .. "inf"), from + #digits
  end
  digits = match(text, "^0[xX]%x+%.?%x*", from) or match(text, "^0[xX]%.%x+", from)
  if digits then
    digits = digits .. (match(text, "^[pP][%+%-]?%d+", from + #digits) or "")
  else
    digits = match(text, "^%d+%.?%d*", from) or match(text, "^%.%d+", from)
    if not digits then return nil end
    digits = digits .. (match(text, "^[eE][%+%-]?%d+", from + #digits) or "")
  end
  return tonumber(sign .. digits), from + #digits
end

local LITERALS = { t = { "true", true, "T_BOOLEAN" }, f = { "false", false, "T_BOOLEAN" }, n = { "null", null, "T_NULL" } }

-- The value of a string, a number or a literal, the position behind it, and what it is called.
local function scalar(settings, text, at, first, expected)
  if first == QUOTE then
    local value, behind_it = decode_string(text, at, expected)
    return value, behind_it, "T_STRING"
  end
  local literal = LITERALS[char(first)]
  if literal and sub(text, at, at + #literal[1] - 1) == literal[1] then
    return literal[2], at + #literal[1], literal[3]
  end
  local usual = first == MINUS or (first >= ZERO and first <= NINE)
  if (usual and (settings.decode_invalid_numbers or not is_invalid(text, at)))
    or (not usual and settings.decode_invalid_numbers and find(text, "^[%+iInN]", at) and is_invalid(text, at))
  then
    local number, behind_it = strtod(text, at)
    if number then return number, behind_it, "T_NUMBER" end
    usual = true
  end
  wrong(expected, usual and "invalid number" or "invalid token", at)
end

-- Complain of what is at a position, which is not what was expected.
local function unexpected(settings, text, at, first, expected)
  local name = NAMES[first]
  if not name then
    local _, _, found = scalar(settings, text, at, first, expected)
    name = found
  end
  wrong(expected, name, at)
end

local function deeper(settings, depth, at)
  depth = depth + 1
  if depth > settings.decode_max_depth then
    fail(format("Found too many nested data structures (%d) at character %d", depth, at - 1))
  end
  return depth
end

local decode

local function decode_array(settings, text, at, depth)
  depth = deeper(settings, depth, at)
  local found, count, first = {}, 0, nil
  at, first = next_byte(text, at)
  if first == CLOSE_ARRAY then return found, at + 1 end
  while true do
    local value
    value, at = decode(settings, text, at, first, depth)
    count = count + 1
    found[count] = value
    at, first = next_byte(text, at)
    if first == CLOSE_ARRAY then return found, at + 1 end
    if first ~= COMMA then unexpected(settings, text, at, first, "comma or array end") end
    at, first = next_byte(text, at + 1)
  end
end

local function decode_object(settings, text, at, depth)
  depth = deeper(settings, depth, at)
  local found, first = {}, nil
  at, first = next_byte(text, at)
  if first == CLOSE_OBJECT then return found, at + 1 end
  while true do
    if first ~= QUOTE then unexpected(settings, text, at, first, "object key string") end
    local key, value
    key, at = decode_string(text, at, "object key string")
    at, first = next_byte(text, at)
    if first ~= COLON then unexpected(settings, text, at, first, "colon") end
    at, first = next_byte(text, at + 1)
    value, at = decode(settings, text, at, first, depth)
    found[key] = value
    at, first = next_byte(text, at)
    if first == CLOSE_OBJECT then return found, at + 1 end
    if first ~= COMMA then unexpected(settings, text, at, first, "comma or object end") end
    at, first = next_byte(text, at + 1)
  end
end

-- The value that begins at a position, whose first byte is known, and the position behind it.
function decode(settings, text, at, first, depth)
  if first == OPEN_OBJECT then return decode_object(settings, text, at + 1, depth) end
  if first == OPEN_ARRAY then return decode_array(settings, text, at + 1, depth) end
  if NAMES[first] then wrong("value", NAMES[first], at) end
  local value, behind_it = scalar(settings, text, at, first, "value")
  return value, behind_it
end

local function decode_text(settings, text)
  if byte(text, 1) == 0 or byte(text, 2) == 0 then fail("JSON parser does not support UTF-16 or UTF-32") end
  local at, first = next_byte(text, 1)
  local value
  value, at = decode(settings, text, at, first, 0)
  at, first = next_byte(text, at)
  if first ~= 0 then unexpected(settings, text, at, first, "the end") end
  return value
end

-- Settings: each function takes new values, all of them optional, and returns those that hold.

local function new()
  local settings = {
    encode_max_depth = DEPTH, decode_max_depth = DEPTH, encode_invalid_numbers = 0, decode_invalid_numbers = true,
    encode_keep_buffer = true, encode_number_precision = PRECISION, encode_sparse_convert = false,
    encode_sparse_ratio = SPARSE_RATIO, encode_sparse_safe = SPARSE_SAFE, number_format = "%.14g",
  }
  local cjson = { null = null, new = new, _NAME = "cjson", _VERSION = "2.1.0" }

  local function few(most, count) if count > most then fail("found too many arguments", most + 1) end end

  local function integer(name, position, value, lowest, highest)
    if value ~= nil then
      value = check.integer(position, position, value)
      if value < lowest or value > highest then
        fail(format("expected integer between %d and %d", lowest, highest), 1)
      end
      settings[name] = value
    end
    return settings[name]
  end

  local SWITCH = { off = false, on = true }

  local function switch(name, value, options)
    if value ~= nil then
      local chosen
      if type(value) == "boolean" then
        chosen = options[value and "on" or "off"]
      else
        chosen = options[check.string(1, 1, value)]
        if chosen == nil then fail(format("invalid option '%s'", tostring(value)), 1) end
      end
      settings[name] = chosen
    end
    return settings[name]
  end

  for _, name in ipairs { "encode_max_depth", "decode_max_depth" } do
    cjson[name] = entry(function(count, value)
      few(1, count)
      return integer(name, 1, value, 1, INT_MAX)
    end)
  end

  for _, name in ipairs { "encode_keep_buffer", "decode_invalid_numbers" } do
    cjson[name] = entry(function(count, value)
      few(1, count)
      return switch(name, value, SWITCH)
    end)
  end

  cjson.encode_number_precision = entry(function(count, value)
    few(1, count)
    local set = integer("encode_number_precision", 1, value, 1, PRECISION)
    settings.number_format = "%." .. set .. "g"
    return set
  end)

  cjson.encode_invalid_numbers = entry(function(count, value)
    few(1, count)
    local set = switch("encode_invalid_numbers", value, { off = 0, on = 1, null = 2 })
    return set == 2 and "null" or set == 1
  end)

  cjson.encode_sparse_array = entry(function(count, convert, ratio, safe)
    few(3, count)
    convert = switch("encode_sparse_convert", convert, SWITCH)
    ratio = integer("encode_sparse_ratio", 2, ratio, 0, INT_MAX)
    safe = integer("encode_sparse_safe", 3, safe, 0, INT_MAX)
    return convert, ratio, safe
  end)

  cjson.encode = entry(function(count, value)
    if count ~= 1 then fail("expected 1 argument", 1) end
    return encode(settings, value, 0)
  end)

  cjson.decode = entry(function(count, text)
    if count ~= 1 then fail("expected 1 argument", 1) end
    return decode_text(settings, check.string(1, 1, text))
  end)

  return cjson
end

return new
