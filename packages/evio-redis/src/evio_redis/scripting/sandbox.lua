-- What scripts see of Lua and of the server. It is run once for an interpreter, with the server's functions, and returns
-- what the server calls: compile, run, table, null.
--
-- https://redis.io/docs/latest/develop/interact/programmability/lua-api/

local host = ...

local getinfo, sethook = debug.getinfo, debug.sethook
local raw_next, raw_pairs, raw_get, raw_set, raw_setmetatable = next, pairs, rawget, rawset, setmetatable
local type, select, tostring, tonumber, error, unpack = type, select, tostring, tonumber, error, unpack
local format, concat, floor = string.format, table.concat, math.floor

local OWN, SOURCE = getinfo(1, "S").source, "@user_script"
local READ_ONLY = "Attempt to modify a readonly table"
local INSTRUCTIONS = 100000 -- between two looks at the clock
local MANY = 4000 -- arguments, beyond which ``unpack`` may not find the room for as many again
local MOST_RESULTS = 7999 -- of ``unpack``
local DEPTH = 2600 -- of tables in tables in a reply

-- Tables that scripts share. Plain Lua cannot make a table read-only: scripts get an empty one that stands for it.

local behind = raw_setmetatable({}, { __mode = "k" }) -- from such a stand-in to what it stands for

local shown = raw_setmetatable({}, { __newindex = function() error(READ_ONLY, 2) end }) -- as their metatable
behind[shown] = {}

local function read_only(contents, missing)
  local stand_in = raw_setmetatable({}, {
    __index = missing and function(_, name)
      local value = contents[name]
      return value == nil and missing(name) or value
    end or contents,
    __newindex = function() error(READ_ONLY, 2) end,
    __metatable = shown,
  })
  behind[stand_in] = contents
  return stand_in
end

local globals = {}
local environment = read_only(globals, function(name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 3)
end)

for _, name in ipairs {
  "assert", "collectgarbage", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
  "xpcall", "_VERSION",
} do
  globals[name] = _G[name]
end
globals._G = environment

function globals.next(t, key) return raw_next(behind[t] or t, key) end

function globals.pairs(t)
  local contents = behind[t]
  if contents == nil then return raw_pairs(t) end
  return function(_, key) return raw_next(contents, key) end, t, nil
end

-- Lua 5.1 counts the results in 32 bits, and crashes when there are more.
local function bad_argument(position, wanted, given)
  error(format("bad argument #%d to 'unpack' (%s expected, got %s)", position, wanted, given), 3)
end

function globals.unpack(...)
  local t, first, last = ...
  if type(t) ~= "table" then bad_argument(1, "table", select("#", ...) == 0 and "no value" or type(t)) end
  local from = first == nil and 1 or tonumber(first)
  if from == nil then bad_argument(2, "number", type(first)) end
  local to = last == nil and #t or tonumber(last)
  if to == nil then bad_argument(3, "number", type(last)) end
  if from <= to and to - from >= MOST_RESULTS then error("too many results to unpack", 2) end
  return unpack(...) -- as it came: what is passed counts, too
end

function globals.rawget(t, key) return raw_get(behind[t] or t, key) end

function globals.rawset(t, key, value)
  if behind[t] then error(READ_ONLY, 0) end
  return raw_set(t, key, value)
end

globals.getmetatable = getmetatable

-- An error of redis.call is a table, but was a string before Redis 7, and is one for those who catch it with pcall.
local function caught(ok, failure, ...)
  if not ok and type(failure) == "table" and type(raw_get(failure, "err")) == "string" then failure = failure.err end
  return ok, failure, ...
end

function globals.pcall(...) return caught(pcall(...)) end

function globals.setmetatable(t, metatable)
  if behind[t] then error(READ_ONLY, 0) end
  return raw_setmetatable(t, metatable)
end

-- Precompiled chunks can crash the interpreter, so only text is taken.
function globals.loadstring(text, name)
  if type(text) ~= "string" or text:byte() == 27 then return nil, "only text can be loaded" end
  local chunk, message = loadstring(text, name)
  if chunk then setfenv(chunk, environment) end
  return chunk, message
end

function globals.load(reader, name)
  if type(reader) ~= "function" then
    error("bad argument #1 to 'load' (function expected, got " .. type(reader) .. ")", 2)
  end
  local pieces = {}
  for piece in reader do
    if piece == "" then break end
    pieces[#pieces + 1] = piece
  end
  return globals.loadstring(concat(pieces), name or "=(load)")
end

local function library(source, but)
  local contents = {}
  for name, value in raw_pairs(source) do
    if name ~= but then contents[name] = value end
  end
  return contents
end

globals.string = read_only(library(string, "dump"))
globals.table = read_only(library(table))
globals.math = read_only(library(math))
local string_metatable = getmetatable("")
string_metatable.__index = globals.string
string_metatable.__metatable = shown

-- Long scripts. A hook belongs to one coroutine.

local function look_at_the_clock()
  local why = host.overdue()
  if why then
    sethook(function() -- what catches this error is ended by the next line
      if getinfo(2, "S").source ~= OWN then error(why, 0) end
    end, "l")
    error(why, 0)
  end
end

local coroutines = library(coroutine)

function coroutines.create(f)
  local created = coroutine.create(f)
  sethook(created, look_at_the_clock, "", INSTRUCTIONS)
  return created
end

function coroutines.wrap(f)
  local created = coroutines.create(f)
  return function(...)
    local function passed(ok, ...)
      if not ok then error((...), 0) end
      return ...
    end
    return passed(coroutine.resume(created, ...))
  end
end

globals.coroutine = read_only(coroutines)

-- Calling the server

local function fail(message, protected)
  local failure = { err = "ERR " .. message }
  if protected then return failure end
  error(failure, 0)
end

local function call(protected, ...)
  local count = select("#", ...)
  if count == 0 then return fail("Please specify at least one argument for this redis lib call", protected) end
  local arguments = { ... }
  for at = 1, count do
    local kind = type(arguments[at])
    if kind == "number" then
      arguments[at] = format("%.17g", arguments[at])
    elseif kind ~= "string" then
      return fail("Lua redis lib command arguments must be strings or integers", protected)
    end
  end
  local reply, failed
  if count < MANY then
    reply, failed = host.call(unpack(arguments, 1, count))
  else
    reply, failed = host.call_with(arguments)
  end
  if failed and not protected then error(reply, 0) end
  return reply
end

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

function redis.call(...) return call(false, ...) end

function redis.pcall(...) return call(true, ...) end

function redis.status_reply(...)
  if select("#", ...) ~= 1 or type((...)) ~= "string" then return fail("wrong number or type of arguments", true) end
  return { ok = (...) }
end

function redis.error_reply(...)
  if select("#", ...) ~= 1 or type((...)) ~= "string" then return fail("wrong number or type of arguments", true) end
  local text = (...):gsub("^%-", "")
  return { err = text:find(" ", 1, true) and text or "ERR " .. text }
end

function redis.sha1hex(...)
  if select("#", ...) ~= 1 then fail("wrong number of arguments") end
  local given = (...)
  return host.sha1hex((type(given) == "string" or type(given) == "number") and tostring(given) or "")
end

function redis.log(level, ...)
  if select("#", ...) == 0 then fail("redis.log() requires two arguments or more.") end
  if type(level) ~= "number" then fail("First argument must be a number (log level).") end
  if level < 0 or level > 3 then fail("Invalid debug level.") end
  local words = {}
  for at = 1, select("#", ...) do
    local word = select(at, ...)
    words[#words + 1] = (type(word) == "string" or type(word) == "number") and tostring(word) or nil
  end
  host.log(level, concat(words, " "))
end

local protocol = 2

function redis.setresp(...)
  if select("#", ...) ~= 1 then fail("redis.setresp() requires one argument.") end
  local version = (...)
  if version ~= 2 and version ~= 3 then fail("RESP version must be 2 or 3.") end
  protocol = version
  host.setresp(version)
end

function redis.set_repl(flags)
  if type(flags) ~= "number" then fail("redis.set_repl() requires one argument.") end
  if flags < 0 or flags > 3 then fail("Invalid replication flags. Please use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.") end
  host.set_repl(flags)
end

function redis.replicate_commands() return true end

function redis.acl_check_cmd(...)
  if select("#", ...) == 0 then fail("Please specify at least one argument for this redis.acl_check_cmd() call") end
  return true
end

function redis.breakpoint() return false end

function redis.debug() end

globals.redis = read_only(redis)

-- JSON as lua-cjson has it

local null = newproxy(true)
getmetatable(null).__tostring = function() return "userdata: (nil)" end
getmetatable(null).__metatable = shown

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\127"] = "\\u007f",
}
local JSON_DEPTH, SPARSE_RATIO, SPARSE_SAFE = 1000, 2, 10

local function json_string(text)
  return '"' .. text:gsub('[%c"\\/\127]', function(c) return ESCAPES[c] or format("\\u%04x", c:byte()) end) .. '"'
end

local function json_number(number)
  if number ~= number or number == 1 / 0 or number == -1 / 0 then
    error("Cannot serialise number: must not be NaN or Inf", 0)
  end
  return format("%.14g", number)
end

local function array_length(t)
  local longest, count = 0, 0
  for key in raw_pairs(t) do
    if type(key) ~= "number" or key < 1 or key ~= floor(key) then return nil end
    if key > longest then longest = key end
    count = count + 1
  end
  if longest > count * SPARSE_RATIO and longest > SPARSE_SAFE then
    error("Cannot serialise table: excessively sparse array", 0)
  end
  return longest > 0 and longest or nil
end

local function json(value, depth)
  local kind = type(value)
  if kind == "string" then return json_string(value) end
  if kind == "number" then return json_number(value) end
  if kind == "boolean" then return tostring(value) end
  if value == nil or value == null then return "null" end
  if kind ~= "table" then error("Cannot serialise " .. kind .. ": type not supported", 0) end
  if depth >= JSON_DEPTH then
    error("Cannot serialise, excessively nested (" .. JSON_DEPTH + 1 .. ")", 0)
  end
  local contents = behind[value] or value
  local parts, length = {}, array_length(contents)
  if length then
    for at = 1, length do parts[at] = json(contents[at], depth + 1) end
    return "[" .. concat(parts, ",") .. "]"
  end
  for key, member in raw_pairs(contents) do
    local name
    if type(key) == "string" then
      name = json_string(key)
    elseif type(key) == "number" then
      name = '"' .. json_number(key) .. '"'
    else
      error("Cannot serialise " .. type(key) .. ": table key must be a number or string", 0)
    end
    parts[#parts + 1] = name .. ":" .. json(member, depth + 1)
  end
  return "{" .. concat(parts, ",") .. "}"
end

local cjson = { null = null }

-- What lua-cjson lets programs change is the same for all scripts here.
for _, name in ipairs {
  "encode_keep_buffer", "encode_max_depth", "decode_max_depth", "encode_invalid_numbers", "decode_invalid_numbers",
  "encode_number_precision", "encode_sparse_array",
} do
  cjson[name] = function() end
end

function cjson.encode(...)
  if select("#", ...) ~= 1 then error("bad argument #1 to 'encode' (expected 1 argument)", 2) end
  local ok, text = pcall(json, (...), 0)
  if not ok then error(text, 2) end
  return text
end

function cjson.decode(...)
  local text = (...)
  if select("#", ...) ~= 1 then error("bad argument #1 to 'decode' (expected 1 argument)", 2) end
  if type(text) ~= "string" and type(text) ~= "number" then
    error("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ")", 2)
  end
  local value, problem = host.json(tostring(text))
  if problem then error(problem, 2) end
  return value
end

globals.cjson = read_only(cjson)

-- Bits, as Lua BitOp has them: signed 32-bit numbers

local bit = {}
for _, name in ipairs { "tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap" } do
  bit[name] = function(...)
    for at = 1, math.max(1, select("#", ...)) do
      local got = select("#", ...) < at and "no value" or type((select(at, ...)))
      if not tonumber((select(at, ...))) then
        error("bad argument #" .. at .. " to '" .. name .. "' (number expected, got " .. got .. ")", 2)
      end
    end
    return host.bit(name, ...)
  end
end

function bit.tohex(number, digits)
  digits = digits or 8
  local pattern = digits < 0 and "%08X" or "%08x"
  return format(pattern, host.bit("tobit", number) % 2 ^ 32):sub(-math.min(8, math.abs(digits)))
end

globals.bit = read_only(bit)

-- Running

local function on_error(failure)
  local level = 2
  local info = getinfo(level, "Sl")
  while info and info.source ~= SOURCE do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  if type(failure) ~= "table" then failure = { err = "ERR " .. tostring(failure) } end
  return { err = failure.err, line = info and info.currentline }
end

local function whole(number) -- as a C compiler's conversion to a 64-bit integer
  if number ~= number or number >= 2 ^ 63 or number <= -2 ^ 63 then return "-9223372036854775808" end
  return format("%.0f", number < 0 and -floor(-number) or floor(number)):gsub("^%-0$", "0")
end

local function line(text) return (tostring(text):gsub("[\r\n]", " ")) end

local encode

local function encode_each(t, head, resp, depth, pairs_too)
  local parts, count = {}, 0
  for key, value in raw_pairs(t) do
    count = count + 1
    parts[#parts + 1] = encode(key, resp, depth + 1)
    if pairs_too then parts[#parts + 1] = encode(value, resp, depth + 1) end
  end
  if resp == 2 and pairs_too then count = count * 2 end
  return (resp == 3 and head or "*") .. count .. "\r\n" .. concat(parts)
end

local function encode_table(t, resp, depth)
  t = behind[t] or t
  local kind, text = type(raw_get(t, "err")), raw_get(t, "err")
  if kind == "string" then return "-" .. line(text) .. "\r\n" end
  if type(raw_get(t, "ok")) == "string" then return "+" .. line(raw_get(t, "ok")) .. "\r\n" end
  if type(raw_get(t, "double")) == "number" then return host.double(raw_get(t, "double"), resp) end
  if type(raw_get(t, "map")) == "table" then return encode_each(raw_get(t, "map"), "%", resp, depth, true) end
  if type(raw_get(t, "set")) == "table" then return encode_each(raw_get(t, "set"), "~", resp, depth, false) end
  if type(raw_get(t, "big_number")) == "string" then
    local number = line(raw_get(t, "big_number"))
    return resp == 3 and "(" .. number .. "\r\n" or "$" .. #number .. "\r\n" .. number .. "\r\n"
  end
  local verbatim = raw_get(t, "verbatim_string")
  if type(verbatim) == "table" and type(verbatim.format) == "string" and type(verbatim.string) == "string" then
    local text = verbatim.string
    if resp == 2 then return "$" .. #text .. "\r\n" .. text .. "\r\n" end
    return "=" .. #text + 4 .. "\r\n" .. (verbatim.format .. "   "):sub(1, 3) .. ":" .. text .. "\r\n"
  end
  local parts = {}
  while raw_get(t, #parts + 1) ~= nil do
    parts[#parts + 1] = encode(raw_get(t, #parts + 1), resp, depth + 1)
  end
  return "*" .. #parts .. "\r\n" .. concat(parts)
end

function encode(value, resp, depth)
  if depth > DEPTH then return "-ERR reached lua stack limit\r\n" end
  local kind = type(value)
  if kind == "string" then return "$" .. #value .. "\r\n" .. value .. "\r\n" end
  if kind == "number" then return ":" .. whole(value) .. "\r\n" end
  if kind == "table" then return encode_table(value, resp, depth) end
  if kind == "boolean" then
    if protocol == 3 then return resp == 3 and (value and "#t\r\n" or "#f\r\n") or (value and ":1\r\n" or ":0\r\n") end
    if value then return ":1\r\n" end
  end
  return resp == 3 and "_\r\n" or "$-1\r\n"
end

local function compile(body)
  local script, message = loadstring(body, SOURCE)
  if script then setfenv(script, environment) end
  return script, message or false
end

local function run(script, keys, arguments, resp)
  globals.KEYS, globals.ARGV = keys, arguments
  protocol = 2
  sethook(look_at_the_clock, "", INSTRUCTIONS)
  local ok, result = xpcall(script, on_error)
  sethook()
  if ok then return encode(result, resp, 0) end
  if type(result) ~= "table" then return nil, "ERR " .. tostring(result) end
  return nil, type(result.err) == "string" and result.err or "ERR unknown error", result.line
end

math.randomseed(host.seed)

return compile, run, null
