-- Other nodes for the specs: luactor, Erlang and Elixir programs of their own,
-- on this machine or in network namespaces, that run the code they are told.
--
--   local peers = require "spec.peers"
--   peers.open()                       -- a folder, and a port mapper for them
--   local e = peers.erl{ name = "e@127.0.0.1", cookie = "c" }
--   e:eval "net_adm:ping('spec@127.0.0.1')"          --> "pong"
--   local l = peers.luactor{}
--   l:eval "node.start{ name = 'l@127.0.0.1', ... } return node.port()"
--   peers.close()                      -- all of them end
--
-- A peer is told over its standard input and answers in files, so it needs no
-- connection to be told anything. It ends with this process, however that
-- ends: its input ends then; and after ten minutes in any case.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"

local M = {}

local Peer = {}
Peer.__index = Peer

local LIFE <const> = 600

---------------------------------------------------------------- the shell

local function capture(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1; echo \" $?\"", "r"))
  local text = pipe:read "a"
  pipe:close()
  local out, status = text:match "^(.*) (%d+)\n$"
  return status == "0", out, tonumber(status)
end

---Run a shell command; whether it succeeded, and all that it printed.
---@param command string
---@return boolean ok, string output
function M.sh(command) return actor.blocking(capture, command) end

---@return boolean  whether there is such a program
function M.has(program)
  return (M.sh("command -v " .. program))
end

function M.slurp(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

local function spill(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end
M.spill = spill

local function quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

----------------------------------------------------------------- all of them

local dir, list, count, keepers = nil, {}, 0, {}

---A folder for this spec file.
function M.dir() return dir end

-- A port that is free now, for a program that cannot be asked which it took.
local function random_port()
  local file = assert(io.open("/dev/urandom", "rb"))
  local port = 20000 + string.unpack("<I2", file:read(2)) % 12000
  file:close()
  return port
end

---Begin: a folder. `{ epmd = true }`: a port mapper of their own on loopback, which
---this process does not use itself (its environment is not changed).
function M.open(opts)
  dir = os.tmpname()
  os.remove(dir)
  assert(M.sh("mkdir -m 700 " .. dir))
  if opts and opts.epmd then
    for _ = 1, 20 do
      M.epmd_port = random_port()
      M.start { command = ("epmd -port %d -address 127.0.0.1"):format(M.epmd_port) }
      local up = pcall(helper.wait, function()
        return (M.sh(("epmd -port %d -names"):format(M.epmd_port)))
      end, 3000)
      if up then return end
    end
    error "no port mapper can be started"
  end
end

---End everything that was started, and remove the folder and namespaces.
function M.close()
  for _, peer in ipairs(list) do peer:kill() end
  list = {}
  for _, keeper in ipairs(keepers) do keeper:close() end
  keepers = {}
  M.epmd_port = nil
  if dir then M.sh("rm -rf " .. dir) end
  dir = nil
end

---Start a program in the background. `command` is words for the shell, `env`
---assignments, `space` a namespace of M.spaces. Unless it `listens` to its input
---another shell does, and ends it.
---@return table peer
function M.start(t)
  count = count + 1
  local base = ("%s/%d"):format(dir, count)
  local inside = t.space and "ip netns exec " .. t.space .. " " or ""
  local command = ("%senv %s %s"):format(inside, t.env or "", t.command)
  if not t.listens then
    command = "sh -c " .. quote(command .. " & cat >/dev/null; kill -9 $!")
  end
  local text = ("echo $$ >%s.run; exec setsid timeout -k 1 %d %s >%s.log 2>&1"):format(
    base, LIFE, command, base)
  local peer = setmetatable({ base = base, asked = 0, name = t.name }, Peer)
  peer.input = assert(io.popen(text, "w"))
  list[#list + 1] = peer
  return peer
end

local function erl_command(t)
  local words = { "erl -noshell -noinput -start_epmd false",
    t.name and ("-%s %s"):format(t.short and "sname" or "name", quote(t.name)) or "",
    t.cookie and "-setcookie " .. quote(t.cookie) or "",
    t.hidden and "-hidden" or "",
    "-kernel inet_dist_use_interface " .. quote(t.interface or "{127,0,0,1}"),
    t.tick and "net_ticktime " .. t.tick or "",
    t.tls and "-proto_dist inet_tls -ssl_dist_optfile " .. quote(t.tls) or "",
    "-pa " .. dir, t.more or "", "-run driver main" }
  return table.concat(words, " ")
end

local compiled

---An Erlang node. `name`, `cookie`, `hidden`, `tls` (file of options), `tick`
---(seconds), `space`, `interface`, `more` (words for erl).
---@return table peer
function M.erl(t)
  if compiled ~= dir then
    local ok, text = M.sh(("erlc -o %s spec/fixture/driver.erl"):format(dir))
    if not ok then error(text) end
    compiled = dir
  end
  local base = ("%s/%d.d"):format(dir, count + 1)
  assert(M.sh("mkdir " .. base))
  local peer = M.start {
    command = erl_command(t) .. " " .. base, space = t.space, name = t.name, listens = true,
    env = ("ERL_EPMD_PORT=%d HOME=%s ERL_CRASH_DUMP=/dev/null %s"):format(
      t.epmd_port or M.epmd_port or 4369, dir, t.env or ""),
  }
  peer.answers = base
  return peer:ready()
end

---A luactor that is told what to do: `node`, `actor`, `V` and `on` are
---locals of the code. `options` are words before the script.
---@return table peer
function M.luactor(t)
  local base = ("%s/%d.d"):format(dir, count + 1)
  assert(M.sh("mkdir " .. base))
  local peer = M.start {
    command = ("%s %s spec/fixture/driver.lua %s"):format(t.binary or helper.binary,
      t.options or "", base),
    space = t.space, name = t.name, listens = true,
    env = ("ERL_EPMD_PORT=%d %s"):format(t.epmd_port or M.epmd_port or 4369, t.env or ""),
  }
  peer.answers = base
  return peer:ready()
end

--------------------------------------------------------------------- a peer

---What it wrote to its standard output and error.
function Peer:log() return M.slurp(self.base .. ".log") or "" end

function Peer:ready()
  local ok = pcall(helper.wait, function()
    self.pid = tonumber(M.slurp(self.answers .. "/pid"))
    return self.pid
  end)
  if not ok then error("a peer does not start:\n" .. self:log(), 3) end
  return self
end

---Tell it to run code, without waiting for the end; returns a number for
---`result`.
function Peer:tell(code)
  self.asked = self.asked + 1
  self.input:write(self.asked, " ", (code:gsub("\n", "\1")), "\n")
  self.input:flush()
  return self.asked
end

---What became of it: the value as text. Raises its error.
function Peer:result(id, ms)
  local path = self.answers .. "/" .. id
  local ok, text = pcall(helper.wait, function() return M.slurp(path) end, ms)
  if not ok then error("no answer from " .. tostring(self.name) .. ":\n" .. self:log(), 2) end
  os.remove(path)
  local how, value = text:match "^(%l+)\n(.*)$"
  if how ~= "ok" then error(tostring(self.name) .. ": " .. value, 2) end
  return value
end

function Peer:eval(code, ...)
  if select("#", ...) > 0 then code = code:format(...) end
  return self:result(self:tell(code))
end

---A signal to the program: "KILL", "STOP", "CONT". Returns once all of its threads have stopped.
function Peer:signal(name)
  M.sh(("kill -%s %d"):format(name, self.pid))
  if name == "STOP" then
    M.sh(("while grep -L '^State:.T' /proc/%d/task/*/status | grep -q .; do sleep 0.01; done"):format(self.pid))
  end
end

---End it now, and all that it started.
function Peer:kill()
  if self.gone then return end
  self.gone = true
  local group = M.slurp(self.base .. ".run")
  if self.pid then M.sh(("kill -9 %d"):format(self.pid)) end
  if group then M.sh(("kill -9 -%d"):format(tonumber(group))) end
  self.input:close()
end

------------------------------------------------------------------ two nodes

M.ME, M.PEER, M.COOKIE = "spec@127.0.0.1", "peer@127.0.0.1", "the-cookie"

---This host and a luactor beside it become nodes and connect, without a port mapper between them; gives the peer. `mine` has
---further fields of our node.start, `theirs` those of the peer's, as Lua text.
function M.meet(mine, theirs)
  M.open { epmd = true }
  local opts = { name = M.ME, cookie = M.COOKIE, listen = 0, epmd = false }
  for k, v in pairs(mine or {}) do opts[k] = v end
  node.start(opts)
  local peer = M.luactor { name = M.PEER }
  local port = peer:eval(([[node.start { name = %q, cookie = %q, listen = 0, epmd = false,
    nodes = { [%q] = "127.0.0.1:%d" }, %s } return node.port()]]):format(M.PEER, M.COOKIE, M.ME, node.port(),
    theirs or ""))
  node.place(M.PEER, "127.0.0.1:" .. port)
  assert(node.connect(M.PEER))
  return peer
end

---Both are gone, and what they had sent.
function M.leave()
  node.stop()
  M.close()
  actor.flush(actor._)
end

---------------------------------------------------------------------- TLS

---Certificates in the folder: an authority `ca`, and `names[i]` signed by it for the hosts.
---`{ "node", hosts = { "127.0.0.1" }, ca = "ca" }`
function M.certificate(name, hosts, ca)
  ca = ca or "ca"
  local alt = {}
  for _, host in ipairs(hosts) do
    alt[#alt + 1] = "DNS:" .. host
    if host:match "^[%d.]+$" then alt[#alt + 1] = "IP:" .. host end
  end
  spill(dir .. "/ext", "subjectAltName=" .. table.concat(alt, ",") .. "\n")
  local ok, text = M.sh(([[cd %s || exit 1
    test -e %s.pem || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -keyout %s.key -out %s.pem -days 2 -subj /CN=%s || exit 1
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -out %s.csr \
      -subj /CN=%s || exit 1
    openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 2 -extfile ext \
      -out %s.pem]]):format(dir, ca, ca, ca, ca, name, name, name, name, ca, ca, name))
  if not ok then error(text) end
  return { cert = ("%s/%s.pem"):format(dir, name), key = ("%s/%s.key"):format(dir, name),
    ca = ("%s/%s.pem"):format(dir, ca) }
end

---The same for erl: a file for its -ssl_dist_optfile.
function M.erl_tls(tls, file)
  local common = ('{certfile,"%s"},{keyfile,"%s"},{cacertfile,"%s"},{verify,verify_peer}'):format(
    tls.cert, tls.key, tls.ca)
  local path = dir .. "/" .. (file or "tls.conf")
  spill(path, ("[{server,[%s,{fail_if_no_peer_cert,true}]},{client,[%s]}].\n"):format(
    common, common))
  return path
end

--------------------------------------------------------- network namespaces

---Whether namespaces can be made here; else why not.
---@return boolean, string?
function M.can_have_spaces()
  local name = "lac" .. random_port()
  local ok, why = M.sh(("ip netns add %s && ip netns exec %s ip link set lo up")
    :format(name, name))
  M.sh("ip netns del " .. name)
  return ok, not ok and why or nil
end

---Namespaces 1..n, each with an interface at one bridge: returns a list of { name, address }.
---M.cut(i) and M.mend(i) take one off that bridge, silently, and put it back.
function M.spaces(n)
  local mark = random_port()
  local net = ("10.%d.%d."):format(64 + mark % 128, mark // 128 % 250)
  local bridge = "lab" .. mark
  -- What removes them again, as soon as this process closes its input or ends.
  keepers[#keepers + 1] = assert(io.popen(([[setsid sh -c 'cat >/dev/null
    for i in $(seq %d); do ip netns del la%dn$i; ip link del v%dn$i; done
    ip link del %s' >/dev/null 2>&1]]):format(n, mark, mark, bridge), "w"))
  assert(M.sh(("ip link add %s type bridge && ip link set %s up"):format(bridge, bridge)))
  local made = {}
  for i = 1, n do
    local space = ("la%dn%d"):format(mark, i)
    local veth = ("v%dn%d"):format(mark, i)
    local address = net .. i
    local ok, text = M.sh(([[ip netns add %s && ip link add %s type veth peer name eth0 netns %s &&
      ip link set %s master %s up && ip netns exec %s ip link set lo up &&
      ip netns exec %s ip address add %s/24 dev eth0 &&
      ip netns exec %s ip link set eth0 up]]):format(space, veth, space, veth, bridge, space,
      space, address, space))
    if not ok then error(text) end
    made[i] = { name = space, address = address, veth = veth, bridge = bridge }
  end
  return made
end

---Packets of these namespaces get lost from now on, without anybody being told.
function M.cut(...)
  for _, space in ipairs { ... } do
    assert(M.sh(("ip link set %s nomaster"):format(space.veth)))
  end
end

function M.mend(...)
  for _, space in ipairs { ... } do
    assert(M.sh(("ip link set %s master %s"):format(space.veth, space.bridge)))
  end
end

return M
