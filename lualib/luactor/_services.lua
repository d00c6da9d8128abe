-- The processes that a node needs because others expect them: `net_kernel`, `rex`, and a group
-- leader for what it starts in Erlang.

local actor = require "luactor"
local core = require "luactor._node"

local V, on = actor.var, actor.on
local atom, tuple = actor.atom, actor.tuple

local M = {}

---net_adm:ping is a call of net_kernel.
function M.net_kernel()
  local serve = actor.receiver(
    on({ "$gen_call", V.from, { "is_auth", V._ } }, function(from) actor.reply(from, atom "yes") end),
    on({ "$gen_call", V.from, V.request }, function(from, request)
      actor.reply(from, tuple { atom "badcall", request })
    end),
    on(actor._, function() end))
  while true do serve() end
end

---`rex` answers rpc:call of nodes that do not use erpc for it, and of gen_server:call. Each
---function runs in a process of its own; one that ends without an answer is answered for.
function M.rex()
  local callers = {}
  local function caller_node(from) return core.of(from[1]) end
  local function unknown(request)
    return tuple { atom "badrpc", tuple { atom "EXIT", tuple { atom "badarg", { request } } } }
  end
  local serve = actor.receiver(
    on({ "$gen_call", V.from, { "call", V.m "atom", V.f "atom", V.args "table", V._ } },
      function(from, m, f, args)
        local _, ref = actor.spawn_monitor("luactor._remote.rex_call", caller_node(from), from, m, f, args)
        callers[ref] = from
      end),
    on({ "$gen_cast", { "cast", V.m "atom", V.f "atom", V.args "table", V.leader "pid" } },
      function(m, f, args, leader)
        actor.spawn("luactor._remote.execute_cast", core.of(leader), false, m, f, args)
      end),
    on({ "features_request", V.from "pid" }, function(from)
      actor.send(from, tuple { atom "features_reply", atom(core.name()), { atom "erpc" } })
    end),
    on({ "DOWN", V.ref, "process", V._, V.reason }, function(ref, reason)
      local from = callers[ref]
      callers[ref] = nil
      if from and reason ~= "normal" then
        actor.reply(from, tuple { atom "badrpc", tuple { atom "EXIT", reason } })
      end
    end),
    on({ "$gen_call", V.from, V.request }, function(from, request)
      actor.reply(from, unknown(request))
    end),
    on(actor._, function() end))
  while true do serve() end
end

-- What a request of Erlang's I/O protocol asks for, and the answer. Nothing is read.
local answer

local function put(chars)
  local text = require "luactor._erlang".text(chars)
  if not text then return tuple { atom "error", atom "put_chars" } end
  io.write(text)
  return atom "ok"
end

local function put_made(m, f, args)
  local erlang = require "luactor._erlang"
  if tostring(m) == "io_lib" and tostring(f) == "format" and type(args) == "table" then
    local ok, text = pcall(erlang.format, args[1], args[2])
    if ok then return put(text) end
  end
  return tuple { atom "error", atom "format" }
end

local ANSWERS <const> = {
  put_chars = function(r)
    if #r == 2 then return put(r[2]) end
    if #r == 3 then return put(r[3]) end
    return put_made(table.unpack(r, #r - 2, #r))
  end,
  requests = function(r)
    local last = atom "ok"
    for _, one in ipairs(r[2]) do last = answer(one) end
    return last
  end,
  get_chars = function() return atom "eof" end,
  get_line = function() return atom "eof" end,
  get_until = function() return atom "eof" end,
  get_password = function() return atom "eof" end,
}

function answer(request)
  local kind = type(request) == "table" and tostring(request[1]) or tostring(request)
  local ok, result = pcall(ANSWERS[kind] or function()
    return tuple { atom "error", atom(kind == "getopts" and "enotsup" or "request") }
  end, request)
  return ok and result or tuple { atom "error", atom "request" }
end

---The group leader of processes that this node starts on Erlang nodes: their output comes
---out here, as it does at the starting node among Erlang nodes; their input is at its end.
function M.leader()
  local serve = actor.receiver(
    on({ "io_request", V.from "pid", V.tag, V.request }, function(from, tag, request)
      actor.send(from, tuple { atom "io_reply", tag, answer(request) })
    end),
    on(actor._, function() end))
  while true do serve() end
end

return M
