std = "lua54"
max_line_length = 140
self = false -- a method need not use its object
ignore = { "431" } -- a name of an enclosing function may be used again
exclude_files = {
  "build",
  "lualib/meta", -- functions without bodies
  "spec/conformance", -- garbage on purpose
}
files["lualib/luactor/_tool/spec_file.lua"] = { globals = { "arg" } }
files["bench"] = { ignore = { "512", "241" } } -- loops that are left; tables that take memory
-- 211/_ENV: `_ENV = _G` has functions of a spec travel without busted's environment;
-- 211/[abcg_]: <close>; 231, 241: tables that take memory; 512: loops that are left
files["spec"] = {
  std = "+busted",
  ignore = { "211/_ENV", "231/_ENV", "211/[abcg_]", "231", "241", "512" },
}
-- Globals that travel, or do not.
files["spec/host/spawn_spec.lua"] = {
  globals = { "actor_spec_global", "string" }, read_globals = { "answer", "config" },
}
files["spec/host/function_transfer_spec.lua"] = { globals = { "transfer_spec_global" } }
files["spec/host/blocking_spec.lua"] = { globals = { "blocking_spec_visited" } }
-- Scripts that turn on their own globals.
files["spec/hostile/scripts.lua"] = {
  globals = { "keep", "require", "pairs", "ipairs", "type", "error", "pcall", "tostring" },
}
files["spec/otp"] = { ignore = { "212/event" } }
