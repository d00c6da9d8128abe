-- luactor test [files|dirs] [busted options]: run specs, each file in a fresh process.
--
-- A file that crashes, ends the program or hangs has failed, and the next one is run. What a
-- file has started and left behind is ended before the next one begins.

local actor = require "luactor"
local shell = require "luactor._tool.shell"

local on, V = actor.on, actor.var
local M = {}

local DEFAULT_SECONDS <const> = 300

local HELP <const> = [[
usage: luactor test [files|dirs] [options]
Run specs with busted, each file in a process of its own (default: all files
named *_spec.lua in the directory spec). Status 0: every test passed.
  --timeout SECONDS   a file that takes longer has failed (default 300)
The options of busted, of which --coverage and --lua have no use here:
]]

-- Our own option; the other words are busted's.
local function take_timeout(words)
  local rest, seconds = {}, DEFAULT_SECONDS
  local i = 1
  while i <= #words do
    local value = words[i]:match "^%-%-timeout=(.*)$"
    if words[i] == "--timeout" then
      i = i + 1
      value = words[i] or ""
    end
    if value then
      seconds = tonumber(value)
      if not seconds or seconds <= 0 then
        shell.fail("test", "--timeout: a number of seconds expected, got '%s'", value)
      end
    else
      rest[#rest + 1] = words[i]
    end
    i = i + 1
  end
  return seconds, rest
end

local function load_busted()
  local ok, cli = pcall(require, "busted.modules.cli")
  if not ok then
    shell.fail("test", "busted is not installed for Lua 5.4 (package lua-busted, or: luarocks install busted)")
  end
  return cli
end

local function parse(words)
  local make_cli = load_busted()
  for _, word in ipairs(words) do
    if word == "--help" or word == "-h" then
      io.write(HELP)
      local cli = make_cli { output = "luactor" }
      cli:set_name "luactor test"
      local _, text = cli:parse { "--help" }
      text = tostring(text):gsub("^luactor test: error: ", ""):gsub("; re%-run with %-%-help for usage%.$", "")
      print((text:gsub("^.-\n\n", "")))
      os.exit(0)
    end
  end
  local cli = make_cli { output = "luactor" }
  cli:set_name "luactor test"
  local settings, why = cli:parse { "--ignore-lua", table.unpack(words) }
  if not settings then
    io.stderr:write((tostring(why):gsub("^luactor test: error:", "luactor test:")), "\n")
    os.exit(1)
  end
  if settings.version then
    print(require "busted.core"().version)
    os.exit(0)
  end
  if settings.coverage then
    shell.fail("test", "--coverage: every file runs in a process of its own, which luacov does not follow")
  end
  return settings
end

local function shuffle(files, seed)
  math.randomseed(seed)
  for i = #files, 2, -1 do
    local j = math.random(i)
    files[i], files[j] = files[j], files[i]
  end
end

-- With busted's own rules for what a directory holds.
local function files_of(settings)
  local problems = {}
  local fake = {}
  function fake.publish(_, _, _, message) problems[#problems + 1] = message end
  require "busted.languages.en"
  local _, _, list = require "busted.modules.test_file_loader"(fake, settings.loaders)
  local files = list(settings.ROOT, settings.pattern,
    { excludes = settings["exclude-pattern"], recursive = settings.recursive })
  if problems[1] then shell.fail("test", "%s", problems[1]) end
  if #files == 0 then shell.fail("test", "no spec files in '%s'", table.concat(settings.ROOT, "', '")) end
  if settings["sort-files"] then table.sort(files) end
  if settings["shuffle-files"] then
    shuffle(files, math.tointeger(tonumber(settings.seed)) or os.time())
  end
  return files
end

-- Ending what a file left -------------------------------------------------------------

local function others(before)
  local list = {}
  for _, pid in ipairs(actor.processes()) do
    if not before[pid] and actor.is_alive(pid) then list[#list + 1] = pid end
  end
  return list
end

-- Who is being ended may have spawned another meanwhile.
local function end_others(before)
  local list = others(before)
  while #list > 0 do
    for _, pid in ipairs(list) do
      local ref = actor.monitor(pid)
      actor.exit(pid, "kill")
      actor.receive({ "DOWN", ref, "process", V._, V._ }, 1000)
      actor.demonitor(ref, { flush = true })
    end
    list = others(before)
  end
end

-- What the user reads -------------------------------------------------------------------

local function indented(text)
  return "  " .. text:gsub("\n+$", ""):gsub("\n", "\n  ") .. "\n"
end

local WORDS <const> = { failure = "FAILED", error = "ERROR", crash = "CRASHED", pending = "pending" }

local function show_problem(p, verbose)
  io.write(WORDS[p.status], " ", p.name or "?", p.where and (" (" .. p.where .. ")") or "", "\n")
  if p.message then io.write(indented(p.message)) end
  if verbose and p.traceback and p.status ~= "pending" then io.write(indented(p.traceback)) end
end

local function plural(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
end

local function show_file(file, result, settings)
  local counts = plural(result.passed + result.failed, "test")
  if result.failed > 0 then counts = ("%s, %d failed"):format(counts, result.failed) end
  if result.pending > 0 then counts = ("%s, %d pending"):format(counts, result.pending) end
  io.write(("%-6s %s: %s (%.0f ms)\n"):format(result.failed > 0 and "FAILED" or "ok", file, counts, result.ms))
  for _, p in ipairs(result.problems) do show_problem(p, settings.verbose) end
  io.stdout:flush()
end

-- Running ---------------------------------------------------------------------------------

local function reason_text(reason)
  if type(reason) == "table" and reason[1] == "error" then
    return ("%s\n%s"):format(tostring(reason[2]), tostring(reason[3] or ""))
  elseif type(reason) == "table" and reason[1] == "os.exit" then
    return ("ended the program: os.exit(%s)"):format(tostring(reason[2]))
  elseif type(reason) == "table" then
    local parts = {}
    for i, part in ipairs(reason) do parts[i] = tostring(part) end
    return "ended with the reason { " .. table.concat(parts, ", ") .. " }"
  end
  return "ended with the reason " .. tostring(reason)
end

local function add(result, status, details)
  if status == "success" then
    result.passed = result.passed + 1
    return
  end
  local key = status == "pending" and "pending" or "failed"
  details.status = status
  result[key] = result[key] + 1
  -- An error outside of tests is told once, a test by its end.
  table.insert(result.problems, details)
end

-- A file that has no time left says where it stands.
local function kill_late(pid, seconds)
  local where = actor.info(pid, "current_line")
  actor.exit(pid, "kill")
  return ("did not end within %g s; it was at %s"):format(seconds, tostring(where))
end

local function run_file(file, settings, seconds)
  local own = {}
  for k, v in pairs(settings) do own[k] = v end
  own.ROOT, own.directory = { file }, "./"
  local words = {}
  for i, word in pairs(arg) do
    if i <= 0 then words[i] = word end
  end
  local began = actor.now()
  local result = { passed = 0, failed = 0, pending = 0, problems = {} }
  local pid, ref = actor.spawn_opt({ monitor = true, label = file },
    "luactor._tool.spec_file.run", actor.self(), own, words)
  local late
  local serve = actor.receiver(
    on({ "test", V.status, V.details }, function(status, details)
      add(result, status, details)
      return "more"
    end),
    on({ "DOWN", ref, "process", pid, V.reason }, function(reason)
      if late or reason ~= "normal" then
        add(result, "crash", { name = file, message = late or reason_text(reason) })
      end
      return "end"
    end))
  while true do
    local left = began + seconds * 1000 - actor.now()
    local what = serve(late and 10000 or math.max(left, 0))
    if what == "end" then break end
    if what ~= "more" then
      if late then break end -- in a C function that does not return
      late = kill_late(pid, seconds)
    end
  end
  result.ms = actor.now() - began
  return result
end

local function is_ours(settings)
  return settings.output == "luactor"
end

local function run_all(files, settings, seconds)
  local before = {}
  for _, pid in ipairs(actor.processes()) do before[pid] = true end
  local sum = { passed = 0, failed = 0, pending = 0, files = 0 }
  for _, file in ipairs(files) do
    local result = run_file(file, settings, seconds)
    end_others(before)
    if is_ours(settings) and not settings.list then
      show_file(file, result, settings)
    else
      for _, p in ipairs(result.problems) do
        if p.status == "crash" then show_problem(p) end
      end
    end
    for key in pairs { passed = 1, failed = 1, pending = 1 } do sum[key] = sum[key] + result[key] end
    sum.files = sum.files + 1
    if result.failed > 0 and not settings["keep-going"] then break end
  end
  return sum
end

---@param ... string  words of the command line
function M.main(...)
  local seconds, words = take_timeout { ... }
  local settings = parse(words)
  local path = require "pl.path"
  if settings.directory then
    local _, why = path.chdir(path.normpath(settings.directory))
    if why then shell.fail("test", "cannot change to '%s': %s", settings.directory, why) end
  end
  local files = files_of(settings)
  local began = actor.now()
  local sum = run_all(files, settings, seconds)
  -- Other libraries' output is for programs that read it.
  local out = is_ours(settings) and io.stdout or io.stderr
  if not settings.list then
    out:write(("%d passed, %d failed, %d pending in %s (%.2f s)\n"):format(
      sum.passed, sum.failed, sum.pending, plural(sum.files, "file"), (actor.now() - began) / 1000))
  end
  os.exit(sum.failed == 0 and 0 or 1)
end

return M
