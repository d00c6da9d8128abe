-- A proxy keeps an object that cannot travel (a file, a connection of a C module) in a process
-- of its own, and stands for it anywhere.
--
--   local proxy = require "luactor.proxy"
--   local log = proxy.new(function() return io.open("log.txt", "a") end)
--   actor.spawn(function()
--     log:write("from another process\n")     -- runs where the file is
--   end)
--
-- A method call is a call to that process: it suspends, it raises what the method raises, and
-- calls of several processes run one after the other. The process ends with its owner, the one
-- that called `new`, however that ends; or by proxy.close.

local actor = require "luactor"
local core = require "luactor._core"

local V, on = actor.var, actor.on

local M = {}

local DEFAULT_MS <const> = 5000

---------------------------------------------------------------- the process

-- Results as a message; where the object itself is among them, the caller puts its proxy.
local function pack_results(object, ...)
  local results = table.pack(...)
  local own
  for i = 1, results.n do
    if rawequal(results[i], object) then
      own = own or {}
      own[#own + 1] = i
      results[i] = false
    end
  end
  return { true, results, own }
end

-- An error value as what can travel.
local function answer_error(from, value)
  if not pcall(actor.reply, from, { false, value }) then
    actor.reply(from, { false, tostring(value) })
  end
end

local function shown_request(kind, name)
  if kind == "method" or kind == "function" then return ("%s '%s'"):format(kind, name) end
  return kind == "call" and "the object" or "the function"
end

-- Lua cannot know a method by name that is called for somebody else: "bad argument #2 to '?'".
local function name_argument(kind, name, e)
  if type(e) ~= "string" then return nil end
  local n, called, rest = e:match "^[^\n]-:%d+: bad argument #(%d+) to '([^']*)'(.*)$"
  if not n or kind ~= "method" and kind ~= "function" then return nil end
  if called ~= "?" and called:match "[^.]*$" ~= name then return nil end
  if kind == "method" then n = n - 1 end
  return ("bad argument #%d to '%s'%s"):format(n, name, rest)
end

local function answer(from, kind, name, object, ok, ...)
  if not ok then
    local text = name_argument(kind, name, (...))
    if text then return actor.reply(from, { false, text, true }) end
    return answer_error(from, (...))
  end
  local sent, why = pcall(actor.reply, from, pack_results(object, ...))
  if not sent then
    why = tostring(why):gsub("^[^\n]-:%d+: ", ""):gsub("reply%[2%]", "results", 1)
    answer_error(from, ("what %s returned cannot leave its process: %s")
      :format(shown_request(kind, name), why))
  end
end

local function member(object, name)
  local ok, f = pcall(function() return object[name] end)
  if not ok or f == nil then
    error(("the object has no method '%s'"):format(name), 0)
  end
  return f
end

local requests = {}

function requests.method(object, name, args)
  return member(object, name)(object, table.unpack(args, 1, args.n))
end

requests["function"] = function(object, name, args)
  return member(object, name)(table.unpack(args, 1, args.n))
end

function requests.call(object, _, args)
  return object(table.unpack(args, 1, args.n))
end

function requests.apply(object, f, args)
  return f(object, table.unpack(args, 1, args.n))
end

local function close_object(object)
  local meta = getmetatable(object)
  local close = type(meta) == "table" and meta.__close
  if close then close(object, nil) end
end

---The body of the process: travels by name.
---@private
function M.run(owner, tag, f)
  local ok, object, why = pcall(f)
  if ok and object == nil then -- as io.open: nil and a message
    ok, object = false, why == nil and "the function returned no object" or why
  end
  if not ok then
    if not pcall(actor.send, owner, { tag, false, object }) then
      actor.send(owner, { tag, false, tostring(object) })
    end
    return
  end
  actor.send(owner, { tag, true })
  local open = true
  local serve = actor.receiver(
    on(actor.request(V.from, { "close" }), function(from)
      open = false
      close_object(object)
      actor.reply(from, true)
    end),
    on(actor.request(V.from, { V.kind "string", V.name, V.args "table" }), function(from, kind, name, args)
      answer(from, kind, name, object, pcall(requests[kind], object, name, args))
    end),
    on(actor._, function() end))
  while open do serve() end
end

---------------------------------------------------------------- the value

---What a call raises when the process is gone, or does not answer in time.
---@class luactor.ProxyError
---@field reason any
---@field pid luactor.Pid
---@field method string?
local ProxyError = {}
ProxyError.__name = "luactor.ProxyError"

function ProxyError:__tostring()
  local reason = self.reason
  if type(reason) == "table" then reason = reason[2] or reason[1] end
  local what = self.method and (" method '%s'"):format(self.method) or ""
  return ("proxy %s:%s failed: %s"):format(self.pid, what, tostring(reason))
end

---Stands for an object: any method of the object is a method of it.
---@class luactor.Proxy
---@field pid luactor.Pid
---@field private _ms number  time limit of a call
local Proxy = {}
Proxy.__name = "luactor.Proxy"

local function unpack_results(self, results, own)
  for _, i in ipairs(own or {}) do results[i] = self end
  return table.unpack(results, 1, results.n)
end

local function request(self, kind, name, ...)
  local ok, reply = actor.try_call(rawget(self, "pid"), { kind, name, table.pack(...) },
    rawget(self, "_ms"))
  if not ok then
    error(setmetatable({ reason = reply, pid = rawget(self, "pid"),
      method = type(name) == "string" and name or nil }, ProxyError), 0)
  end
  -- At level 2: the functions that p.name gives end in a tail call.
  if not reply[1] then error(reply[2], reply[3] and 2 or 0) end
  return unpack_results(self, reply[2], reply[3])
end

-- p:name(...) is a method; p.name(...), of an object that is a module, a plain function.
function Proxy:__index(name)
  if type(name) ~= "string" then return nil end
  local function f(first, ...)
    if rawequal(first, self) then return request(self, "method", name, ...) end
    return request(self, "function", name, first, ...)
  end
  rawset(self, name, f)
  return f
end

function Proxy:__newindex(name)
  error(("proxy %s: cannot set field '%s'; use proxy.apply"):format(rawget(self, "pid"),
    tostring(name)), 2)
end

function Proxy:__call(...)
  return request(self, "call", false, ...)
end

function Proxy:__tostring()
  return ("proxy %s"):format(rawget(self, "pid"))
end

function Proxy.__eq(a, b)
  return rawget(a, "pid") == rawget(b, "pid")
end

function Proxy:__transfer()
  return "luactor.proxy", rawget(self, "pid"), rawget(self, "_ms")
end

---A proxy that came in a message.
---@private
function M.receive(pid, ms)
  return setmetatable({ pid = pid, _ms = ms }, Proxy)
end

---------------------------------------------------------------- functions

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "table" or tostring(value)
end

local function bad(n, name, what, value)
  error(("bad argument #%d to 'luactor.proxy.%s' (%s expected, got %s)"):format(n, name, what,
    shown(value)), 3)
end

local function check_time(ms)
  if type(ms) ~= "number" or ms ~= ms or ms < 0 then
    error(("luactor.proxy.new: bad option 'timeout' (milliseconds expected, got %s)")
      :format(shown(ms)), 3)
  end
  return ms
end

-- The options of spawn, without ours. The tie to the owner is not for choice.
local function spawn_options(opts)
  local out = { label = "proxy" }
  for key, value in pairs(opts) do
    if key == "link" or key == "monitor" then
      error(("luactor.proxy.new: unknown option '%s' (value %s)"):format(key, shown(value)), 3)
    end
    if key ~= "timeout" then out[key] = value end
  end
  return out
end

---Make an object in a process of its own: `f` travels there and returns it. Suspends until it is made. Raises what `f` raises, or
---returns behind nil.
---@param f function|string  a function, or "module.function"
---@param opts table?  those of actor.spawn_opt (thread = "own" for an object that blocks), and
---                    timeout: for each method call, default 5000, math.huge: none
---@return luactor.Proxy
function M.new(f, opts)
  if opts == nil then opts = {} end
  if type(opts) ~= "table" then bad(2, "new", "table of options", opts) end
  local ms = check_time(opts.timeout == nil and DEFAULT_MS or opts.timeout)
  local spawn_opts = spawn_options(opts)
  if type(f) == "string" and f:match "^.+%.[^.]+$" then
    local module, name = f:match "^(.+)%.([^.]+)$"
    f = function() return require(module)[name]() end
  elseif type(f) ~= "function" then
    bad(1, "new", "function or 'module.function'", f)
  end
  local tag = actor.ref()
  local pid, ref = core.spawn_tied("one_way", nil, spawn_opts, M.run, actor.self(), tag, f)
  local made, value = actor.receive(
    on({ tag, V.made, V.rest "..." }, function(made, rest) return made, rest[1] end),
    on({ "DOWN", ref, "process", pid, V.reason }, function(reason) return nil, reason end))
  actor.demonitor(ref, { flush = true })
  if made then return M.receive(pid, ms) end
  if made == nil then error(setmetatable({ reason = value, pid = pid }, ProxyError), 0) end
  error(value, 0)
end

local function check_proxy(p, name)
  if getmetatable(p) ~= Proxy then bad(1, name, "proxy", p) end
end

---Run `f(object, ...)` where the object is, and return its results. `f` travels. Suspends.
---@param p luactor.Proxy
---@param f fun(object: any, ...): ...
function M.apply(p, f, ...)
  check_proxy(p, "apply")
  if type(f) ~= "function" then bad(2, "apply", "function", f) end
  return request(p, "apply", f, ...)
end

---End the process of a proxy, after the calls that came before; the object's __close runs. A process that is not through after `ms`
---is killed. Suspends until it is gone.
---@param p luactor.Proxy
---@param ms number?  default 5000
---@return true
function M.close(p, ms)
  check_proxy(p, "close")
  local pid = rawget(p, "pid")
  local ref = actor.monitor(pid)
  if not actor.try_call(pid, { "close" }, ms) then actor.exit(pid, "kill") end
  actor.receive { "DOWN", ref, "process", V._, V._ }
  return true
end

Proxy.__close = function(p) M.close(p) end

return M
