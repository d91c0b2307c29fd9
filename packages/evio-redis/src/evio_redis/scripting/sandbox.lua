-- What scripts see of Lua and of the server. It is run once for an interpreter, with the server's functions, and returns
-- what the server calls: compile, load, run, what ends the watching of a script that had no room to do so itself, and the
-- garbage collector. With ``host.functions`` it is for libraries of functions.
--
-- https://redis.io/docs/latest/develop/interact/programmability/lua-api/

local host = ...

local getinfo, sethook = debug.getinfo, debug.sethook
local raw_next, raw_pairs, raw_get, raw_set, raw_setmetatable = next, pairs, rawget, rawset, setmetatable
local type, select, tostring, tonumber, error, unpack = type, select, tostring, tonumber, error, unpack
local format, concat, floor = string.format, table.concat, math.floor

local OWN, SOURCE = getinfo(1, "S").source, host.functions and "@user_function" or "@user_script"
local READ_ONLY = "Attempt to modify a readonly table"
local INSTRUCTIONS = 100000 -- between two looks at the clock
local MANY = 4000 -- arguments, beyond which ``unpack`` may not find the room for as many again
local MOST_RESULTS = 7999 -- of ``unpack``
local LARGE = 1000000 -- bytes from which a string is made by doubling
local MOST_BYTES = 2 ^ 31 -- of a string
local DEPTH = 2600 -- of tables in tables in a reply

-- Tables that scripts share. Plain Lua cannot make a table read-only: scripts get an empty one that stands for it.

local behind = raw_setmetatable({}, { __mode = "k" }) -- from such a stand-in to what it stands for

local shown = raw_setmetatable({}, { __newindex = function() error(READ_ONLY, 2) end }) -- as their metatable
behind[shown] = {}

local function read_only(contents, missing)
  if missing then -- asked last: what is there is found without a call
    raw_setmetatable(contents, { __index = function(_, name)
      local value = missing(name)
      return value
    end })
  end
  local stand_in = raw_setmetatable({}, {
    __index = contents,
    __newindex = function() error(READ_ONLY, 2) end,
    __metatable = shown,
  })
  behind[stand_in] = contents
  return stand_in
end

local globals = {}
local libraries = {} -- by name, what loads them, when a script first asks for them: they take more than all the rest

local function no_such_name(name, level)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", level or 3)
end

local loading_globals -- what a library sees while it registers its functions; nil when it does not

local environment = read_only(globals, function(name)
  local load_library = libraries[name]
  if load_library then
    globals[name] = read_only(load_library())
    return globals[name]
  end
  no_such_name(name, host.functions and 5 or 4)
end)

if host.functions then -- functions have the environment of the library, of which more is there when they run
  local all = environment
  environment = raw_setmetatable({}, {
    __index = function(_, name)
      if not loading_globals then return all[name] end
      local value = loading_globals[name]
      if value == nil then no_such_name(name) end
      return value
    end,
    __newindex = function() error(READ_ONLY, 2) end,
    __metatable = shown,
  })
  behind[environment] = globals
end

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

-- Precompiled chunks can crash the interpreter, so only text is taken: a space before one has it read as text.
function globals.loadstring(text, name)
  if type(text) == "number" then text = tostring(text) end
  if type(text) == "string" and text:byte() == 27 then text, name = " " .. text, name or text end
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

local strings = library(string)
globals.string = read_only(strings)
globals.table = read_only(library(table))
globals.math = read_only(library(math))
local string_metatable = getmetatable("")
string_metatable.__index = globals.string
string_metatable.__metatable = shown

-- Long scripts. A hook belongs to one coroutine. The one that looks at the clock stays from script to script, as to set it
-- takes long: ``hooked`` says that it is there, ``watching`` that there is anything to look at.

local hooked, watching = false, false

local function end_script(why)
  hooked = false
  sethook(function() -- what catches this error is ended by the next line
    if getinfo(2, "S").source ~= OWN then error(why, 0) end
  end, "l")
  error(why, 0)
end

-- A function of the server's for scripts. The interpreter's memory is not limited while it runs, see scripts.py; it
-- returns EXCEEDED if more is used then than a script may use.

local EXCEEDED = host.exceeded

local function kept(first, ...)
  if first == EXCEEDED then end_script("not enough memory") end
  return first, ...
end

local function hosted(name)
  local ask = host[name]
  return function(...) return kept(ask(...)) end
end

local overdue = hosted("overdue")

local ended = false -- the script; what it returns is being made a reply

local function look_at_the_clock()
  local why = watching and overdue(ended)
  if why then end_script(why) end
end

local function unwatch()
  watching = false
  if not hooked then sethook() end
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

local host_call, host_call_with = host.call, host.call_with

-- What is wrong with the words of a command; numbers among them become text.
local function problem_of(words, count)
  if count == 0 then return "Please specify at least one argument for this redis lib call" end
  for at = 1, count do
    local kind = type(words[at])
    if kind == "number" then
      words[at] = format("%.17g", words[at])
    elseif kind ~= "string" then
      return "Lua redis lib command arguments must be strings or integers"
    end
  end
end

local function call(protected, words, count)
  local problem = problem_of(words, count)
  if problem then return fail(problem, protected) end
  local reply, failed
  if count < MANY then
    reply, failed = host_call(unpack(words, 1, count))
  else
    host.unlimit() -- to pass a table takes memory of the interpreter's before the server's function runs
    reply, failed = host_call_with(words)
  end
  if reply == EXCEEDED then end_script("not enough memory") end -- as ``hosted`` does, without its call
  if failed and not protected then error(reply, 0) end
  return reply
end

local host_sha1hex, host_log, host_double = hosted("sha1hex"), hosted("log"), hosted("double")
local host_setresp, host_set_repl, host_allowed = hosted("setresp"), hosted("set_repl"), hosted("allowed")

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

function redis.call(...) return call(false, { ... }, select("#", ...)) end

function redis.pcall(...) return call(true, { ... }, select("#", ...)) end

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
  return host_sha1hex((type(given) == "string" or type(given) == "number") and tostring(given) or "")
end

function redis.log(level, ...)
  if select("#", ...) == 0 then fail("redis.log() requires two arguments or more.") end
  level = tonumber(level)
  if not level then fail("First argument must be a number (log level).") end
  level = level < 0 and -floor(-level) or floor(level)
  if level < 0 or level > 3 then fail("Invalid debug level.") end
  local words = {}
  for at = 1, select("#", ...) do
    local word = select(at, ...)
    words[#words + 1] = (type(word) == "string" or type(word) == "number") and tostring(word) or nil
  end
  host_log(level, concat(words, " "))
end

local protocol = 2

function redis.setresp(...)
  if select("#", ...) ~= 1 then fail("redis.setresp() requires one argument.") end
  local version = floor(tonumber((...)) or 0)
  if version ~= 2 and version ~= 3 then fail("RESP version must be 2 or 3.") end
  protocol = version
  host_setresp(version)
end

function redis.set_repl(...)
  if select("#", ...) ~= 1 then fail("redis.set_repl() requires two arguments.") end
  local flags = floor(tonumber((...)) or 0)
  if flags < 0 or flags > 3 then
    fail("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
  end
  host_set_repl(flags)
end

function redis.replicate_commands() return true end

function redis.acl_check_cmd(...)
  local words, count = { ... }, select("#", ...)
  local problem = problem_of(words, count)
  if problem then fail(problem) end
  local allowed = host_allowed(unpack(words, 1, count))
  if allowed == nil then fail("Invalid command passed to redis.acl_check_cmd()") end
  return allowed
end

function redis.breakpoint() return false end

function redis.debug() end

globals.redis = read_only(redis)

-- The libraries. What their functions complain of is a table of a text and, for a bad argument, its position, until the
-- function that the script called adds its own name and where it was called, as C's luaL_error and luaL_argerror do.

local null = newproxy(true)
getmetatable(null).__tostring = function() return "userdata: (nil)" end
getmetatable(null).__metatable = shown

local function complain(problem)
  if type(problem) ~= "table" then error(problem, 0) end
  local text, position = problem[1], problem[2]
  if position then
    local called = getinfo(2, "n")
    local name = called.name or "?"
    if called.namewhat == "method" then position = position - 1 end
    if called.namewhat == "method" and position == 0 then
      text = format("calling '%s' on bad self (%s)", name, text)
    else
      text = format("bad argument #%d to '%s' (%s)", position, name, text)
    end
  end
  error(text, 3)
end

local function gathered(...) return select("#", ...), { ... } end

-- A function for scripts of one that takes the number of arguments, and then these.
local function entry(run)
  return function(...)
    local count, results = gathered(pcall(run, select("#", ...), ...))
    if results[1] then return unpack(results, 2, count) end
    complain(results[2])
  end
end

local function fail_with(text, position) error({ text, position }, 0) end

local check = {}

local function wanted(kind, position, count, value)
  local given = position > count and "no value" or type(value)
  fail_with(kind .. " expected, got " .. given, position)
end

function check.string(position, count, value)
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  if kind ~= "string" then wanted("string", position, count, value) end
  return value
end

function check.number(position, count, value)
  local number = (type(value) == "number" or type(value) == "string") and tonumber(value)
  if not number then wanted("number", position, count, value) end
  return number
end

function check.integer(position, count, value)
  local number = check.number(position, count, value)
  if number ~= number then return 0 end
  return number < 0 and -floor(-number) or floor(number)
end

local shared = { behind = behind, null = null, check = check, entry = entry, fail = fail_with }

local source_of = hosted("source")

local function part(name, ...)
  local chunk, problem = loadstring(source_of(name), "=" .. name)
  if not chunk then error(problem, 0) end
  return chunk(shared, ...)
end

local INTERNAL = { [OWN] = true, ["=[C]"] = true }
for _, name in ipairs { "binary", "cjson", "cmsgpack", "struct", "bit", "functions" } do INTERNAL["=" .. name] = true end

-- Lua's own appends one by one, which takes seconds for hundreds of megabytes, and nothing could end it.
strings.rep = entry(function(count, text, times)
  text, times = check.string(1, count, text), check.integer(2, count, times)
  if #text * times < LARGE then return string.rep(text, times) end
  if #text * times > MOST_BYTES then error("not enough memory", 0) end
  local done, most = "", 1
  while most * 2 <= times do most = most * 2 end
  while most >= 1 do
    done = done .. done
    if times >= most then done, times = done .. text, times - most end
    most = most / 2
  end
  return done
end)

-- Bytecode is not loaded again, but some take its size, or compare it. That of what the sandbox is made of is nobody's
-- business: in Redis, that is written in C.
strings.dump = entry(function(count, f)
  if type(f) ~= "function" then wanted("function", 1, count, f) end
  if INTERNAL[getinfo(f, "S").source] then fail_with("unable to dump given function") end
  return string.dump(f)
end)

local function with_binary(name)
  shared.binary = shared.binary or part("binary")
  return part(name)
end

function libraries.cjson() return part("cjson")() end
function libraries.cmsgpack() return with_binary("cmsgpack") end
function libraries.struct() return with_binary("struct") end
function libraries.bit() return part("bit", hosted("bit")) end

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
  if type(raw_get(t, "double")) == "number" then return host_double(raw_get(t, "double"), resp) end
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

local function watched(run)
  ended, watching = false, true
  if not hooked then
    sethook(look_at_the_clock, "", INSTRUCTIONS)
    hooked = true
  end
  return xpcall(run, on_error)
end

-- The tables of the keys, which are the first of these, and of the arguments.
local function tables(count, ...)
  local given = { ... }
  if #given == count then return given, {} end
  if count == 0 then return {}, given end
  local keys, arguments = {}, {}
  for at = 1, count do keys[at] = given[at] end
  for at = count + 1, #given do arguments[at - count] = given[at] end
  return keys, arguments
end

-- Returns the string that the script has returned; else the encoded reply and false, or nil, an error and its line.
local function run(script, resp, keys, arguments, ...)
  if type(keys) == "number" then keys, arguments = tables(keys, ...) end
  protocol, loading_globals = 2, nil -- there may have been no memory left to set it back
  local ok, result
  if host.functions then
    ok, result = watched(function() return (script(keys, arguments)) end)
  else
    globals.KEYS, globals.ARGV = keys, arguments
    ok, result = watched(script)
  end
  ended = true
  if ok and type(result) == "string" then
    unwatch()
    return result
  end
  if ok then ok, result = pcall(encode, result, resp, 0) end -- watched, too: tables may be in themselves
  unwatch()
  if ok then return result, false end
  if type(result) ~= "table" then return nil, "ERR " .. tostring(result) end
  return nil, type(result.err) == "string" and result.err or "ERR unknown error", result.line
end

local load_library

if host.functions then
  redis.replicate_commands, redis.breakpoint, redis.debug = nil, nil, nil
  local logging = {}
  for _, name in ipairs {
    "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM",
  } do
    logging[name] = redis[name]
  end
  local function loaded(library, seen)
    loading_globals = seen
    local ok, failure = watched(library)
    unwatch()
    loading_globals = nil
    return ok, failure
  end
  load_library = part("functions", fail, loaded, read_only, no_such_name, logging)
end

math.randomseed(host.seed)

return compile, load_library, run, unwatch, collectgarbage
