"""The libraries of scripts beside a real redis-server's: cjson, cmsgpack, struct, bit, and string.dump."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

import evio_redis
from tests.extent import FULL

from .wire import Wire, redis_server

HEX = "local function h(s) return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end "
"""Shows bytes."""

SHOWN = """
local function s(v)
  if type(v) == 'number' then return string.format('%.17g', v) end
  if type(v) ~= 'table' then return type(v) .. ':' .. tostring(v) end
  local t = {}
  for k, x in pairs(v) do t[#t + 1] = s(k) .. '=' .. s(x) end
  table.sort(t)
  return '{' .. table.concat(t, ',') .. '}'
end
"""
"""Shows a value of any type."""


def words_of(text: str) -> list[str]:
    return text.split()


NUMBERS = words_of("""0 -0 1 -1 127 128 255 256 65535 65536 2^31 2^32-1 2^32 2^53 2^63 2^64 -32 -33 -128 -129
-32768 -32769 -2^31 -2^31-1 -2^53 -2^63 -2^63-2048 1e300 -1e300 0.5 1/3 -2.5 1/0 -1/0 0/0 -(0/0) 1e-40 2^-149
2^-150 1e-310 3.4028234663852886e38 3.4028236e38 16777217 tonumber('nan') 4503599627370497.5""")

NOT_INTEGERS = {"2^64", "1e300", "-1e300", "1/0", "-1/0", "0/0", "-(0/0)", "tonumber('nan')", "-2^63-2048"}
"""Numbers of which C does not say how they convert to an integer."""


def literal(data: bytes) -> str:
    """A string in Lua."""
    return "'" + "".join(f"\\{byte}" for byte in data) + "'"


def names_of(library: str) -> str:
    return f"local t = {{}} for k in pairs({library}) do t[#t + 1] = k end table.sort(t) return t"


# -- cjson


def setting(change: str, code: str, back: str) -> str:
    """A script that changes a setting, which outlives it, and sets it back."""
    return f"{change} local ok, e = pcall(function() {code} end) {back} return {{tostring(ok), tostring(e)}}"


DECODED = words_of("""[0x10,nan,1e2] - [-] + [1e] [0x] [1.] [.5] [1-2] [1..2] [--1] i n nul nulll true truee
TRUE { [ [1 [1, [1,] [,] {"a" {"a": {"a":1 {"a":1, {"a":1,} {"a"1} {1:1} {x} {"a":x} {"a":"x} {"a\\\\q":1} "abc
"a\\\\q" "a\\\\ "a\\\\" "a\\\\u12" "a\\\\ud800" "a\\\\udc00" "a\\\\ud800\\\\u0041"
"a\\\\ud83d\\\\ude00\\\\u00e9\\\\u0041\\\\u20ac\\\\b\\\\f\\\\n\\\\r\\\\t\\\\/\\\\\\\\" "a\\\\u0000b" "a\\nb\\tc"
1\\0002 \\0001 1\\000 "a\\000b" [1,2]] [1} {] \\255 [1,"x",tru] [nan(a)]
[1,[2,[3,{"a":[]}]],"x",true,false,null,1.5,-3e20]""")

INVALID = words_of("0x10 nan inf +1 01 -01 1 -0 0 0.5 -nan 1e5 -x Infinity")

CJSON = [
    setting("cjson.encode_max_depth(1)", "return cjson.encode({a = {b = 1}})", "cjson.encode_max_depth(1000)"),
    setting("cjson.decode_max_depth(1)", """return cjson.decode('{"a":{"b":1}}')""", "cjson.decode_max_depth(1000)"),
    setting("cjson.encode_invalid_numbers(true)", "return cjson.encode({0/0})", "cjson.encode_invalid_numbers(false)"),
    *(
        setting(
            f"cjson.encode_invalid_numbers('{mode}')",
            "return cjson.encode({1/0, -1/0, 0/0}) .. tostring(cjson.encode_invalid_numbers())",
            "cjson.encode_invalid_numbers(false)",
        )
        for mode in ("off", "on", "null", "x")
    ),
    setting("cjson.encode_number_precision(3)", "return cjson.encode(3.14159265)", "cjson.encode_number_precision(14)"),
    setting(
        "cjson.encode_sparse_array(true)",
        "return cjson.encode({[1] = 1, [50] = 2})",
        "cjson.encode_sparse_array(false, 2, 10)",
    ),
    *(
        setting("cjson.decode_invalid_numbers(false)", f"cjson.decode('{text}')", "cjson.decode_invalid_numbers(true)")
        for text in INVALID
    ),
    *(
        f"return {{pcall(cjson.encode_number_precision, {given})}}"
        for given in ("99", "0", "'x'", "{}", "1, 2", "'14'")
    ),
    "return cjson.encode_number_precision(nil)",
    "local a, b, c = cjson.encode_sparse_array() return {tostring(a), b, c}",
    *(
        f"cjson.encode_sparse_array({given})"
        for given in ("true, 1, 2, 3", "'x'", "1", "{}", "nil, -1", "nil, nil, 'x'")
    ),
    "return {tostring(cjson.encode_keep_buffer()), tostring(cjson.decode_invalid_numbers())}",
    "return {tostring(cjson.encode_invalid_numbers()), cjson.encode_max_depth(), cjson.decode_max_depth()}",
    "return {cjson._NAME, cjson._VERSION, type(cjson.new), tostring(cjson.null)}",
    "local c = cjson.new() c.encode_max_depth(1) return {tostring(pcall(c.encode, {{1}})), cjson.encode({{1}})}",
    "local c = cjson.new() c.x = 1 return c.x",
    names_of("cjson"),
    names_of("cjson.new()"),
    *(f"return {{pcall(cjson.decode, ('['):rep({n}) .. (']'):rep({n}))}} and 1" for n in (500, 1000)),
    "return {pcall(cjson.decode, ('['):rep(1001) .. (']'):rep(1001))}",
    """return {pcall(cjson.decode, ('{"a":'):rep(1001) .. '1' .. ('}'):rep(1001))}""",
    *(f"local t = 1 for i = 1, {n} do t = {{t}} end return #cjson.encode(t)" for n in (1000, 1001)),
    *(f"return cjson.encode({{cjson.decode('{text}')}})" for text in DECODED),
    SHOWN
    + "return s(cjson.decode('[0x10,nan,1e2,inf,-inf,Infinity,-NaN,0x1.8p1,01,+1,-0,1.5E+3,NaN(abc),nan(),iNf]'))",
    "return cjson.decode('')",
    "return cjson.decode(' ')",
    "return cjson.decode('1 2')",
    "return cjson.decode('1 \\000 garbage')",
    "return cjson.decode(\"['a']\")",
    *(f"return cjson.decode({given})" for given in ("12", "{}", "nil", "1, 2", "")),
    "return {pcall(cjson.decode)}",
    "return {pcall(cjson.decode, 'x')}",
    "local ok, e = pcall(function() return cjson.decode('x') end) return e",
    """return cjson.decode('{"a":{"b":[1,2,{"c":null}]},"d":"e"}').a.b[3].c == cjson.null""",
    *(
        f"return cjson.encode({value})"
        for value in (
            *("{a = cjson.null}", "cjson.null", "{[0] = 1}", "{[-1] = 1}", "{1, 2, 3}", "{[1] = 1, [3] = 3}"),
            *("{nil, nil, 3}", "{[{}] = 1}", "{[11] = 1}", "{[10] = 1}", "{f = function() end}", "print", "1, 2", ""),
            *("coroutine.create(print)", "{1e15, 1e14, 0.1, 1/3, -0, 1e300, 2^53}", "(' '):rep(3)"),
            *("'\\000\\001\\031 \\127\\128\\255/\"\\\\'", "setmetatable({}, {__index = function() return 1 end})"),
        )
    ),
    # what is no JSON, but new beside it
    "return type(string.dump(function() return 1 end))",
    *(f"return string.dump({given})" for given in ("print", "1", "", "redis.call", "cjson.encode")),
    "local f, e = loadstring(string.dump(function() return 1 end)) return {tostring(f), e}",
    "local f, e = loadstring('\\27Lua', '=x') return {tostring(f), e}",
    "local n = 0 local f, e = load(function() n = n + 1 return n == 1 and '\\27Lua' or nil end) return {type(f), e}",
    *(f"local s = ('ab'):rep({times}) return s" for times in ("3", "-3", "", "'2'", "{}")),
    "local s = ('abc'):rep(1000003) return #s .. s:sub(-4)",
]

# -- cmsgpack

PACKED = [
    *NUMBERS,
    *("nil", "true", "'x'", "print", "cjson.null", "1, 2", "nil, nil", "{}", "{1, 2, 3}", "{1, nil, 3}", "{a = 1}"),
    *("{[1] = 1, [3] = 3}", "{[0] = 1}", "{[1.5] = 1}", "{[-1] = 1}", "{{{}}}", "{a = {b = {c = 1}}}", "{[true] = 1}"),
    *("{[2] = 1}", "setmetatable({}, {__index = function(t, k) return k end})", ""),
    *(f"('x'):rep({size})" for size in (31, 32, 255, 256)),
]

ASKED = [
    *("unpack()", "unpack({})", "unpack('')", "unpack(nil)", "unpack(12)", "unpack_one()", "unpack_one('\\1', 'x')"),
    *(f"unpack_one('\\1\\2\\3'{offset})" for offset in ("", ", 1", ", 2", ", 3", ", 4", ", -1", ", {}")),
    *(f"unpack_limit('\\1\\2\\3'{rest})" for rest in ("", ", 2", ", 2, 1", ", 0", ", 0, 1", ", -1", ", 5")),
    *("unpack('\\1\\2\\3')", "unpack(cmsgpack.pack(1, 'a', {1, 2}, nil, true, 3))", "unpack('\\129\\192\\1')"),
    *("unpack('\\221\\255\\255\\255\\255\\1')", "unpack('\\219\\255\\255\\255\\255\\1')"),
    "unpack('\\129\\203\\127\\248\\0\\0\\0\\0\\0\\0\\1')",
]


def cmsgpack() -> list[str]:
    draw = random.Random(5)
    scripts = [HEX + f"return h(cmsgpack.pack({value}))" for value in PACKED]
    for size in (15, 16, 65535, 65536):
        code = (
            f"local t = {{}} for i = 1, {size} do t[i] = i end local s = cmsgpack.pack(t) return h(s:sub(1, 8)) .. #s"
        )
        scripts += [HEX + code, HEX + code.replace("t[i]", "t['k' .. i]").replace("1, 8", "1, 5")]
        scripts.append(HEX + f"local s = cmsgpack.pack(('x'):rep({size})) return h(s:sub(1, 8)) .. #s")
    for nested in ("t = 1 for i = 1, 20 do t = {t} end", "t = {} t[1] = t", "t = {} t.a = t"):
        scripts.append(HEX + f"local {nested} return h(cmsgpack.pack(t))")
    scripts += [f"return {{cmsgpack.{call}}}" for call in ASKED]
    scripts += ["return {pcall(cmsgpack.unpack, '\\193')}", "return {pcall(cmsgpack.pack)}", names_of("cmsgpack")]
    scripts.append("return {cmsgpack._NAME, cmsgpack._VERSION, cmsgpack._COPYRIGHT, cmsgpack._DESCRIPTION}")
    for first in range(256):
        for rest in (b"", b"\1", draw.randbytes(12), b"\x81\xa1a\x92\1\xc3" + bytes(12)):
            call = f"pcall(cmsgpack.unpack, {literal(bytes([first]) + rest)})"
            scripts.append(SHOWN + f"local ok, a, b, c = {call} return {{tostring(ok), s(a), s(b), s(c)}}")
    for _ in range(60):
        four = b"\xca" + draw.randbytes(4)
        eight = draw.choice((b"\xcb", b"\xcf", b"\xd3")) + draw.randbytes(8)
        scripts += [SHOWN + f"return s(cmsgpack.unpack({literal(data)}))" for data in (four, eight)]
        number = draw.choice((draw.random(), draw.uniform(-1e10, 1e10), float(draw.randrange(-(2**62), 2**62))))
        scripts.append(HEX + f"return h(cmsgpack.pack({number!r}))")
        (single,) = struct.unpack("<f", draw.randbytes(3) + b"\x42")
        scripts.append(HEX + f"return h(cmsgpack.pack({single!r}))")
    return scripts


# -- struct

STRUCT_PACKED = """'i0', 1|'i3', -2|'>i5', 2^35|'i8', -1|'i9', -1|'>i16', 258|'i32', 1|'i33', 1
'i99999999999', 1|'c3', 'abcdef'|'c0', 'abc'|'c', 'abc'|'c4', 'abc'|'s', 'abc'|'ss', 'a', 'b'|'x'|'xx'
'bx!4i', 1, 2|'!b i', 1, 2|'!2bl', 1, 2|'!3b', 1|'!0b', 1|'!16bd', 1, 2|'bhbi', 1, 2, 3, 4|'!4bhbi', 1, 2, 3, 4
'y', 1|'b', 'x'|'b', '12'|'b'|'b', nil|'s'|'s', 12|'s', {}|''||{}|12|' b ', 1|'><b', 1|'b b', 1, 2, 3|'f', 'x'
'!4c3i', 'abc', 1|'!8si', 'abc', 1|'!8sl', 'abcdefg', 1|'c00002', 'abc'|'!i3', 1|'!bi3', 1, 2|'b\\0b', 1, 2|'A1'"""

STRUCT_UNPACKED = """'b', '\\255'|'B', '\\255'|'h', '\\1\\255'|'>h', '\\1\\255'|'>H', '\\255\\1'
'i', '\\1\\2\\3\\4'|'i3', '\\1\\2\\255'|'>i3', '\\255\\2\\1'|'l', ('\\255'):rep(8)|'L', ('\\255'):rep(8)
'T', '\\1\\0\\0\\0\\0\\0\\0\\128'|'l', '\\1\\0\\0\\0\\0\\0\\0\\128'|'i16', '0123456789abcdef'
'>i16', '0123456789abcdef'|'I0', 'abc'|'b', ''|'i', 'abc'|'c3', 'abcdef'|'c0', 'abc'|'bc0', '\\3abcd'
'bc0', '\\9abcd'|'bc0', '\\255abcd'|'c1c0', '3abcd'|'c1c0', 'xabcd'|'s', 'abc\\0def'|'ss', 'abc\\0def\\0'
's', 'abc'|'x', 'a'|'x', ''|'bxb', '\\1\\2\\3'|'!bi', '\\1\\0\\0\\0\\2\\0\\0\\0'|'!bi', '\\1\\0\\0\\0\\2\\0\\0'
'f', '\\0\\0\\128\\63'|'d', '\\0\\0\\0\\0\\0\\0\\240\\63'|'>d', '\\63\\240\\0\\0\\0\\0\\0\\0'|'b', '\\1\\2', 2
'b', '\\1\\2', 3|'b', '\\1\\2', 0|'b', '\\1\\2', -1|'b', '\\1\\2', 'x'|'b', '\\1\\2', 4|'', 'abc'|'', 'abc', 9
'y', 'abc'|'b'|'b', {}|{}, 'a'||'i33', 'abc'|'c5', 'abc'|'c99999999999', 'abc'|'!3b', 'a'|'bb', '\\1'
' b', '\\1'|'b', '\\1', 1.5|'bs', '\\1abc\\0'"""

STRUCT_SIZES = (
    "'b'|'bi'|'!bi'|'!4bhbi'|'s'|'c0'|'c10'|'y'|'!'|'!3'|'>'|''|{}||'i33'|'i0'|'x'|'!8bd'|'bsb'|' '|12|'f', 'x'|'A'"
)

OPTIONS = words_of("< > ! !2 !4 b B h H i I l L i3 I7 f d x c2")


def calls(text: str) -> list[str]:
    return [call for line in text.splitlines() for call in line.split("|")]


def struct_scripts() -> list[str]:
    draw = random.Random(6)
    unpacked = "local r = {{struct.unpack({})}} for i, v in ipairs(r) do r[i] = s(v) end return r"
    scripts = [
        HEX + f"return h(struct.pack('{order}{option}', {number}))"
        for order in "<>"
        for option in "bBhHlLTiIfd"
        for number in NUMBERS
        if option in "fd" or number not in NOT_INTEGERS
    ]
    scripts += [HEX + f"return h(struct.pack({call}))" for call in calls(STRUCT_PACKED)]
    scripts += [SHOWN + unpacked.format(call) for call in calls(STRUCT_UNPACKED)]
    scripts += [f"return struct.size({call})" for call in calls(STRUCT_SIZES)]
    scripts += ["return {pcall(struct.pack, 'y')}", "return {pcall(struct.unpack, 'b', '')}", names_of("struct")]
    for _ in range(80):
        layout = "".join(draw.choices(OPTIONS, k=draw.randrange(1, 8)))
        scripts.append(f"return struct.size('{layout}')")
        scripts.append(SHOWN + unpacked.format(f"'{layout}', {literal(draw.randbytes(60))}"))
        numbers = ", ".join(draw.choices(("1", "-5", "300", "70000.7", "-2^40"), k=8))
        scripts.append(HEX + f"return h(struct.pack('{layout}', {numbers}))")
    return scripts


# -- bit


def bit_scripts() -> list[str]:
    odd = ["'12'", "'0x10'", "'x'", "{}", "nil", "true", "2^31+0.5", "2.5", "3.5", "-2.5"]
    scripts = [
        f"return tostring(bit.{name}({number}))" for name in ("tobit", "bnot", "bswap") for number in [*NUMBERS, *odd]
    ]
    for name in ("band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror"):
        scripts += [f"return tostring(bit.{name}({number}, 3))" for number in NUMBERS]
        scripts += [f"return tostring(bit.{name}(5, {number}))" for number in NUMBERS]
        scripts += [f"return bit.{name}({given})" for given in ("", "1", "1, 'x'", "1, 2, 3", "1, 2, 'x'")]
        scripts.append(f"return {{pcall(bit.{name})}}")
    given = (
        "1|-1|255, 2|255, -2|255, 0|255, 9|255, -9|'x'||1, 'x'|1, 2.5|2^33+5|0/0|1/0|1, 2^32|1, nil|-1, 2^31|-1, -2^31"
    )
    return [*scripts, *(f"return bit.tohex({each})" for each in given.split("|")), names_of("bit")]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[int, int]]:
    """The ports of a real redis-server and of ours."""
    with redis_server() as real, evio_redis.Server(port=0) as ours:
        yield real, ours.port


SCRIPTS = {"cjson": CJSON, "cmsgpack": cmsgpack(), "struct": struct_scripts(), "bit": bit_scripts()}


@pytest.mark.parametrize("library", SCRIPTS)
def test_libraries_do_the_same_as_on_a_real_server(both: tuple[int, int], library: str) -> None:
    different = []
    with Wire(both[0]) as real, Wire(both[1]) as ours:
        for code in SCRIPTS[library][:: 1 if FULL else 3]:
            expected, found = real.ask(["EVAL", code, 0]), ours.ask(["EVAL", code, 0])
            if expected != found:
                different.append((code, expected, found))
    assert different == []
