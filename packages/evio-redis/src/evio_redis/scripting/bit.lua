-- Bits of 32-bit integers, as Lua BitOp 1.0 has them, which Redis 7.0 brings. Given what sandbox.lua shares and the
-- server's functions; returns the library.
--
-- https://bitop.luajit.org/semantics.html

local shared, compute = ...

local check, entry = shared.check, shared.entry
local select, unpack = select, unpack
local abs, format, min, sub = math.abs, string.format, math.min, string.sub

local NAMES = { "tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap" }
local TWO = { lshift = true, rshift = true, arshift = true, rol = true, ror = true }
local ANY = { band = true, bor = true, bxor = true }

local bit = {}

for _, name in ipairs(NAMES) do
  bit[name] = entry(function(count, ...)
    local wanted = ANY[name] and count > 0 and count or TWO[name] and 2 or 1
    local numbers = {}
    for at = 1, wanted do numbers[at] = check.number(at, count, (select(at, ...))) end
    return compute(name, unpack(numbers, 1, wanted))
  end)
end

bit.tohex = entry(function(count, number, digits)
  number = check.number(1, count, number)
  digits = count < 2 and 8 or compute("tobit", check.number(2, count, digits))
  local text = format(digits < 0 and "%08X" or "%08x", compute("tobit", number) % 2 ^ 32)
  local size = min(8, abs(digits))
  return size == 0 and "" or sub(text, -size)
end)

return bit
