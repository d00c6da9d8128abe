-- A bank whose sum stays right while a chaos monkey kills its servers.
--
-- Every account is a server that knows its balance. What makes money safe is
-- the ledger: a transfer is one entry there, written once, by a server that
-- does nothing else and is not in the monkey's reach. An account that is killed
-- is started again by its supervisor and adds up its entries. A client that
-- lost its server in the middle of a transfer repeats it under the same number; the
-- ledger takes each number once.
local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local supervisor = require "luactor.supervisor"

local ACCOUNTS <const>, START <const> = 10, 1000
local CLIENTS <const>, TRANSFERS <const>, KILLS <const> = 4, 50, 30

---------------------------------------------------------------- the ledger

local Ledger = gen_server.define "ledger"

function Ledger:init() self.entries, self.written = {}, {} end

-- Write entry `id` unless it is there; the account may not be overdrawn.
function Ledger.call:write(id, from, to, amount)
  if self.written[id] then return true end
  if from ~= "mint" and self:sum(from) < amount then return false end
  self.written[id] = true
  self.entries[#self.entries + 1] = { from = from, to = to, amount = amount }
  return true
end

function Ledger.call:balance(name) return self:sum(name) end

function Ledger:sum(name)
  local sum = 0
  for _, entry in ipairs(self.entries) do
    if entry.to == name then sum = sum + entry.amount end
    if entry.from == name then sum = sum - entry.amount end
  end
  return sum
end

---------------------------------------------------------------- accounts

local Account = gen_server.define "account"

function Account:init(name)
  self.name = name
  self.balance = Ledger:at("ledger"):balance(name)
end

function Account.call:transfer(id, to, amount)
  if self.balance < amount then return false end
  local done = Ledger:at("ledger"):write(id, self.name, to, amount)
  -- The other side hears of it when it is next asked; killed or not.
  self.balance = Ledger:at("ledger"):balance(self.name)
  return done
end

function Account.call:balance()
  self.balance = Ledger:at("ledger"):balance(self.name)
  return self.balance
end

---------------------------------------------------------------- clients

-- Call until an answer comes: the server may be dead, dying or not yet back.
local function insist(name, request)
  while true do
    local ok, answer = actor.try_call(name, request)
    if ok then return answer end
    actor.sleep(1)
  end
end

local function client(number)
  local random = number * 7919
  for i = 1, TRANSFERS do
    random = (random * 1103515245 + 12345) % 2147483648
    local from, to = random // 65536 % ACCOUNTS + 1, random // 256 % ACCOUNTS + 1
    insist("account" .. from, { "transfer", ("%d-%d"):format(number, i),
      "account" .. to, random % 100 + 1 })
  end
end

local function monkey()
  for i = 1, KILLS do
    local pid = actor.whereis("account" .. (i * 7 % ACCOUNTS + 1))
    if pid then actor.exit(pid, "kill") end
    actor.sleep(1)
  end
end

---------------------------------------------------------------- a busy day

Ledger:start_opt { link = true, name = "ledger" }
local children = {}
for i = 1, ACCOUNTS do
  local name = "account" .. i
  Ledger:at("ledger"):write("start" .. i, "mint", name, START)
  children[i] = {
    id = name,
    start = { function()
      return Account:start_opt({ link = true, name = name }, name)
    end },
  }
end
supervisor.start_link {
  strategy = "one_for_one", intensity = KILLS, period = 60000,
  children = children,
}

actor.scope(function(s)
  s:spawn(monkey)
  for number = 1, CLIENTS do s:spawn(client, number) end
end)

local sum = 0
for i = 1, ACCOUNTS do sum = sum + insist("account" .. i, { "balance" }) end
print(("%d transfers tried by %d clients, up to %d kills"):format(
  CLIENTS * TRANSFERS, CLIENTS, KILLS))
print(("the sum is %d of %d"):format(sum, ACCOUNTS * START))
