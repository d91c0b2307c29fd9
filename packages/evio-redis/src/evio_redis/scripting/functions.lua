-- What a library of functions sees while it registers them. Given what sandbox.lua shares, redis.log with its levels, and
-- what begins and ends the run of a library: returns what loads one.
--
-- https://redis.io/docs/latest/develop/interact/programmability/functions-intro/

local shared, fail, watched, read_only, no_such_name, log = ...

local behind, raw_get, raw_pairs, type, tostring, select = shared.behind, rawget, pairs, type, tostring, select

local registered -- those of the library that is being loaded, in order
local FLAGS = {
  ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
  ["allow-cross-slot-keys"] = true,
}
local REGISTER = "redis.register_function"

local function text_of(value) -- as C takes it
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  return kind == "string" and value or nil
end

local function flags_of(value)
  if type(value) ~= "table" then
    fail("flags argument to " .. REGISTER .. " must be a table representing function flags")
  end
  local flags, at = {}, 1
  while raw_get(value, at) ~= nil do
    local flag = text_of(raw_get(value, at))
    if not FLAGS[flag or ""] then fail("unknown flag given") end
    flags[at], at = flag, at + 1
  end
  return flags
end

local function named_arguments(t)
  if type(t) ~= "table" then
    fail("calling " .. REGISTER .. " with a single argument is only applicable to Lua table (representing named "
      .. "arguments).")
  end
  local new = { description = false, flags = {} }
  for key, value in raw_pairs(behind[t] or t) do
    key = text_of(key)
    if not key then fail("named argument key given to " .. REGISTER .. " is not a string") end
    if key == "function_name" then
      new.name = text_of(value) or fail("function_name argument given to " .. REGISTER .. " must be a string")
    elseif key == "description" then
      new.description = text_of(value) or fail("description argument given to " .. REGISTER .. " must be a string")
    elseif key == "callback" then
      if type(value) ~= "function" then fail("callback argument given to " .. REGISTER .. " must be a function") end
      new.callback = value
    elseif key == "flags" then
      new.flags = flags_of(value)
    else
      fail("unknown argument given to " .. REGISTER)
    end
  end
  if not new.name then fail(REGISTER .. " must get a function name argument") end
  if not new.callback then fail(REGISTER .. " must get a callback argument") end
  return new
end

local function register(...)
  local count, new = select("#", ...)
  if count < 1 or count > 2 then fail("wrong number of arguments to " .. REGISTER) end
  if count == 1 then
    new = named_arguments((...))
  else
    local name, callback = ...
    name = text_of(name) or fail("first argument to " .. REGISTER .. " must be a string")
    if type(callback) ~= "function" then fail("second argument to " .. REGISTER .. " must be a function") end
    new = { name = name, callback = callback, description = false, flags = {} }
  end
  if not registered then fail(REGISTER .. " can only be called on FUNCTION LOAD command") end
  if not new.name:find("^[%w_]+$") then
    fail("Library names can only contain letters, numbers, or underscores(_) and must be at least one character long")
  end
  for _, other in ipairs(registered) do
    if other.name == new.name then fail("Function already exists in the library") end
  end
  registered[#registered + 1] = new
end

return function(library)
  local contents = { register_function = register }
  for name, value in raw_pairs(log) do contents[name] = value end
  registered = {}
  local found = registered
  local ok, failure = watched(library, { redis = read_only(contents, no_such_name) })
  registered = nil
  if ok then return found, false end
  return nil, type(failure.err) == "string" and failure.err or "ERR unknown error"
end
