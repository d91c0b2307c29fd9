-- Numbers as bytes, the first one the most significant, and back. Returns a table of functions; positions are indices of
-- bytes that are there. All of it is exact: a double holds 53 bits, and it is only divided by powers of two.

local byte, char = string.byte, string.char
local floor, frexp, ldexp, tostring, unpack = math.floor, math.frexp, math.ldexp, tostring, unpack

local FLOAT, DOUBLE = { bits = 23, bias = 127 }, { bits = 52, bias = 1023 }

-- An integer in so many bytes; one below zero in two's complement.
local function packed(number, size)
  if size == 2 then return char(floor(number / 256) % 256, number % 256) end
  if size == 4 then
    return char(floor(number / 2 ^ 24) % 256, floor(number / 2 ^ 16) % 256, floor(number / 256) % 256, number % 256)
  end
  local bytes = {}
  for at = size, 1, -1 do
    bytes[at] = number % 256
    number = floor(number / 256)
  end
  return char(unpack(bytes))
end

local function unsigned(text, at, size)
  if size == 1 then return byte(text, at) end
  if size == 2 then
    local high, low = byte(text, at, at + 1)
    return high * 256 + low
  end
  if size > 4 then -- rounded once, as C does
    return unsigned(text, at, size - 4) * 2 ^ 32 + unsigned(text, at + size - 4, 4)
  end
  local number = 0
  for place = at, at + size - 1 do number = number * 256 + byte(text, place) end
  return number
end

local function signed(text, at, size)
  if size > 4 then return signed(text, at, size - 4) * 2 ^ 32 + unsigned(text, at + size - 4, 4) end
  local number, half = unsigned(text, at, size), 2 ^ (8 * size - 1)
  return number >= half and number - 2 * half or number
end

local function nearest_even(number)
  local whole = floor(number)
  local rest = number - whole
  if rest > 0.5 or (rest == 0.5 and whole % 2 == 1) then return whole + 1 end
  return whole
end

-- Sign, exponent and mantissa of a number (IEEE 754), and if nothing was lost.
local function parts_of(number, kind)
  local top = 2 * kind.bias + 1
  if number ~= number then return tostring(number) == "-nan" and 1 or 0, top, 2 ^ (kind.bits - 1), false end
  local sign = (number < 0 or 1 / number < 0) and 1 or 0
  if sign == 1 then number = -number end
  if number == 0 then return sign, 0, 0, true end
  if number == 1 / 0 then return sign, top, 0, true end
  local fraction, exponent = frexp(number)
  local scaled
  exponent = exponent - 1 + kind.bias
  if exponent >= 1 then
    scaled = (fraction * 2 - 1) * 2 ^ kind.bits
  else -- subnormal
    scaled, exponent = ldexp(fraction, kind.bits + exponent), 0
  end
  local mantissa = nearest_even(scaled)
  if mantissa == 2 ^ kind.bits then mantissa, exponent = 0, exponent + 1 end
  if exponent >= top then return sign, top, 0, false end
  return sign, exponent, mantissa, mantissa == scaled
end

-- The bytes of the nearest float, and if it is the number itself.
local function float(number)
  local sign, exponent, mantissa, exact = parts_of(number, FLOAT)
  return packed(sign * 2 ^ 31 + exponent * 2 ^ 23 + mantissa, 4), exact
end

local function double(number)
  local sign, exponent, mantissa = parts_of(number, DOUBLE)
  return packed(sign * 2 ^ 31 + exponent * 2 ^ 20 + floor(mantissa / 2 ^ 32), 4) .. packed(mantissa % 2 ^ 32, 4)
end

local function number_of(sign, exponent, mantissa, kind)
  local number
  if exponent == 2 * kind.bias + 1 then
    number = mantissa == 0 and 1 / 0 or -(0 / 0) -- 0 / 0 is negative on this hardware
  elseif exponent == 0 then
    number = ldexp(mantissa, 1 - kind.bias - kind.bits)
  else
    number = ldexp(1 + mantissa / 2 ^ kind.bits, exponent - kind.bias)
  end
  return sign == 1 and -number or number
end

local function read_float(text, at)
  local bits = unsigned(text, at, 4)
  return number_of(floor(bits / 2 ^ 31), floor(bits / 2 ^ 23) % 256, bits % 2 ^ 23, FLOAT)
end

local function read_double(text, at)
  local high, low = unsigned(text, at, 4), unsigned(text, at + 4, 4)
  return number_of(floor(high / 2 ^ 31), floor(high / 2 ^ 20) % 2048, high % 2 ^ 20 * 2 ^ 32 + low, DOUBLE)
end

return {
  packed = packed, unsigned = unsigned, signed = signed, float = float, double = double, read_float = read_float,
  read_double = read_double,
}
