-- The manual page and the completions of the shells know the options that --help shows, no
-- more and no less.
local actor = require "luactor"
local helper = require "spec.helper"
local describe, it, assert, pending = describe, it, assert, pending
local _ENV = _G

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or os.getenv "PWD" .. "/" .. path
end

-- Standard output and error of a shell script, "$L" being the command.
local function sh(script)
  local function read(text)
    local pipe = assert(io.popen(text))
    return pipe:read "a", (select(3, pipe:close()))
  end
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write("L='", absolute(helper.binary), "'\n", script)
  file:close()
  local out, status = actor.blocking(read, "timeout 60 bash " .. name .. " 2>&1 </dev/null")
  os.remove(name)
  return out, status
end

local function has(program)
  return (os.execute("command -v " .. program .. " >/dev/null"))
end

local function sorted(set)
  local list = {}
  for word in pairs(set) do list[#list + 1] = word end
  table.sort(list)
  return list
end

-- The options and tools at the beginnings of the lines of --help.
local function of_help()
  local options, tools = {}, {}
  for line in sh '"$L" --help':gmatch "[^\n]+" do
    local words = line:match "^  (%S.-)  " or line:match "^  (%S.*)$" or ""
    for option in (" " .. words:gsub(",", " ")):gmatch " (%-%-?[%w-]*)" do options[option] = true end
    local tool = words:match "^(%l+) %S" or words:match "^(%l+)$"
    if tool and tool ~= "script" then tools[tool] = true end
  end
  return sorted(options), sorted(tools)
end

local options, tools = of_help()

describe("--help", function()
  it("is read right by this spec", function()
    assert.is_true(#options > 15)
    assert.same({ "check", "new", "test" }, tools)
  end)
end)

describe("the manual page", function()
  it("has the same options and tools", function()
    local found, words = {}, {}
    for line in slurp "share/luactor.1":gmatch "[^\n]+" do
      if line:find "^%.It Fl" then
        for option in line:gmatch "Fl (%S+)" do found["-" .. option] = true end
      end
      local tool = line:match "^%.It Cm (%l+)"
      if tool then words[tool] = true end
    end
    assert.same(options, sorted(found))
    assert.same(tools, sorted(words))
  end)

  it("is right for man", function()
    if not has "man" then return pending "man is not installed" end
    local out = sh "man --warnings -E UTF-8 -l -Tutf8 -Z share/luactor.1 >/dev/null"
    assert.equal("", out)
    assert.matches("luactor.*run Lua programs made of processes", (sh "MANWIDTH=80 man -l share/luactor.1"))
  end)
end)

describe("the completion of bash", function()
  -- What bash offers for a command line whose last word is unfinished.
  local function offers(...)
    local words = { ... }
    for i, word in ipairs(words) do words[i] = "'" .. word .. "'" end
    local out = sh(([[
      source share/completions/luactor.bash
      COMP_WORDS=(luactor %s); COMP_CWORD=%d
      _luactor; printf '%%s\n' "${COMPREPLY[@]}"]]):format(table.concat(words, " "), #words))
    local set = {}
    for word in out:gmatch "[^\n]+" do set[word] = true end
    return set
  end

  it("offers the same options", function()
    assert.same(options, sorted(offers "-"))
    assert.same(options, sorted(offers("--schedulers", "2", "-")))
  end)

  it("offers tools and scripts in their place", function()
    local set = offers ""
    for _, tool in ipairs(tools) do assert.is_true(set[tool]) end
    assert.is_nil(set["README.md"])
    assert.is_true(offers "examples/" ["examples/ring.lua"])
    assert.is_true(offers("-v", "te")["test"])
    assert.is_true(offers("app.lua", "READ")["README.md"])
  end)

  it("offers values, and the options of a tool", function()
    assert.same({ "count", "count:", "tick" }, sorted(offers("--preempt", "")))
    assert.is_true(offers("--tls", "READ")["README.md"])
    assert.same({ "--timeout" }, sorted(offers("test", "--ti")))
    assert.same({}, sorted(offers("app.lua", "--sched")))
  end)
end)

describe("the completion of zsh", function()
  it("has the same options and tools", function()
    local text = slurp "share/completions/_luactor"
    local found, words = {}, {}
    for option in text:match "options=%((.-)\n  %)":gmatch "'%*?(%-[%w-]*)%[" do found[option] = true end
    for option in text:match "{(%-h,%-%-help)}":gmatch "[^,]+" do found[option] = true end
    for tool in text:match "tools=(%b())":gmatch "'(%l+):" do words[tool] = true end
    assert.same(options, sorted(found))
    assert.same(tools, sorted(words))
  end)

  it("is right for zsh", function()
    if not has "zsh" then return pending "zsh is not installed" end
    assert.equal("", (sh "zsh -n share/completions/_luactor"))
  end)
end)

describe("the completion of fish", function()
  it("has the same options and tools", function()
    -- A plain "--" is no option for fish.
    local found, words = { ["--"] = true }, {}
    for line in slurp "share/completions/luactor.fish":gmatch "[^\n]+" do
      if line:find("-n $first", 1, true) then
        local short, long = line:match " %-s (%a)", line:match " %-l ([%l-]+)"
        if short then found["-" .. short] = true end
        if long then found["--" .. long] = true end
        if not short and not long then words[line:match " %-a (%l+)"] = true end
      end
    end
    assert.same(options, sorted(found))
    assert.same(tools, sorted(words))
  end)

  it("is right for fish", function()
    if not has "fish" then return pending "fish is not installed" end
    assert.equal("", (sh "fish --no-execute share/completions/luactor.fish"))
    local out = sh [[fish --no-config -c 'source share/completions/luactor.fish; complete -C "luactor --schedulers 2 --pre"']]
    assert.equal("--preempt\tWhat ends a slice\n", out)
    out = sh [[fish --no-config -c 'source share/completions/luactor.fish; complete -C "luactor test --time"']]
    assert.equal("--timeout\tSeconds for a file\n", out)
  end)
end)
