-- What do messages cost between two nodes on one machine, over loopback? The other node
-- is a program that this one starts. With _tls behind the name, under TLS; the certificate
-- is in BENCH_TLS (cert.pem, key.pem, ca.pem).
--   dist_pingpong   {"ping", i} there, {"pong", i} back. op = round trip
--   dist_small      {"n", i} one way, 500,000 of them from one process; the last is
--                   answered. op = message
--   dist_fan        the same from 10 processes to 10
--   dist_1mb        a string of 1 MB one way, 500 times. op = string
--   dist_call       actor.call of a server. op = call
local actor = require "luactor"
local node = require "luactor.node"
local harness = require "harness"

local V, on, post = actor.var, actor.on, actor.post
local ME, OTHER <const> = "bench_a@127.0.0.1", "bench_b@127.0.0.1"

local function start(name, tls)
  local dir = os.getenv "BENCH_TLS"
  node.start { name = name, cookie = "bench", listen = 0, epmd = false,
    tls = tls and { cert = dir .. "/cert.pem", key = dir .. "/key.pem", ca = dir .. "/ca.pem" } or nil }
end

------------------------------------------------------------ the other node

local function sink()
  local serve = actor.receiver(
    on({ "n", V._ }, function() end),
    on({ "blob", V.s "string" }, function(s) harness.check(#s == 1 << 20, "length") end),
    on({ "last", V.from }, function(from) post(from, "done") end))
  while true do serve() end
end

local function pong()
  local serve = actor.receiver(on({ "ping", V.from "pid", V.i }, function(from, i)
    post(from, "pong", i)
  end))
  while true do serve() end
end

local function server()
  local serve = actor.receiver(on(actor.request(V.from, { "add", V.k }), function(from, k)
    actor.reply(from, k + 1)
  end))
  while true do serve() end
end

local function other(port, tls)
  start(OTHER, tls == "tls")
  node.place(ME, "127.0.0.1:" .. port)
  for i = 1, 10 do actor.spawn_opt({ name = "sink" .. i }, sink) end
  actor.spawn_opt({ name = "pong" }, pong)
  actor.spawn_opt({ name = "server" }, server)
  assert(node.connect(ME))
  node.monitor(ME, true)
  actor.receive { "nodedown", ME }
  actor.halt(0)
end

------------------------------------------------------------------ this node

local function meet(tls)
  local i = 0
  while arg[i - 1] do i = i - 1 end
  local binary = arg[i]
  start(ME, tls)
  node.monitor(OTHER, true)
  local pipe = assert(io.popen(("'%s' '%s' other %d %s"):format(binary, arg[0], node.port(),
    tls and "tls" or "plain"), "w"))
  harness.check(actor.receive({ "nodeup", OTHER }, 10000) ~= "timeout", "the other node")
  return pipe
end

local function done() harness.check(actor.receive({ "done" }, 60000), "lost") end

local function one_way(to, n)
  local pid = { to, OTHER }
  for i = 1, n do post(pid, "n", i) end
  post(pid, "last", actor.self())
  done()
end

local runs = {
  dist_pingpong = { 30000, function(n)
    local to, me = { "pong", OTHER }, actor.self()
    for i = 1, n do
      post(to, "ping", me, i)
      actor.receive { "pong", i }
    end
  end },
  dist_small = { 500000, function(n) one_way("sink1", n) end },
  dist_fan = { 500000, function(n)
    local refs = {}
    for i = 1, 10 do
      refs[i] = select(2, actor.spawn_monitor(one_way, "sink" .. i, n // 10))
    end
    for i = 1, 10 do
      harness.check(actor.receive { "DOWN", refs[i], V._, V._, V.why } == "normal", "lost")
    end
  end },
  dist_1mb = { 500, function(n)
    local to, blob = { "sink1", OTHER }, ("x"):rep(1 << 20)
    for _ = 1, n do post(to, "blob", blob) end
    post(to, "last", actor.self())
    done()
  end },
  dist_call = { 20000, function(n)
    local to = { "server", OTHER }
    for i = 1, n do harness.check(actor.call(to, { "add", i }) == i + 1, "reply") end
  end },
}

if arg[1] == "other" then
  other(arg[2], arg[3])
end

local cases = {}
for name, run in pairs(runs) do
  for _, tls in ipairs { false, true } do
    cases[name .. (tls and "_tls" or "")] = function(case)
      local pipe = meet(tls)
      harness.simple(case, run[1], run[2])
      node.stop()
      pipe:close()
    end
  end
end
harness.main(cases)
actor.halt(0)
