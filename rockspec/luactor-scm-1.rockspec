-- The command `luactor`, with its Lua part inside it. A plain `lua` cannot load luactor: its
-- processes need the host. C programs that embed the host take the library from
-- `cmake --install` or the Debian packages.
rockspec_format = "3.0"
package = "luactor"
version = "scm-1"
source = {
  url = "git+file://.", -- `luarocks make` in a checkout
}
description = {
  summary = "A host of Lua actors",
  detailed = [[
    luactor runs Lua programs made of processes: small, isolated Lua states that
    share nothing and talk by messages, in the way of Erlang.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
external_dependencies = {
  LIBUV = { header = "uv.h" },
  OPENSSL = { header = "openssl/ssl.h" },
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    CMAKE_INSTALL_BINDIR = "bin",
    CMAKE_INSTALL_DOCDIR = "doc",
    LUACTOR_LTO = "ON",
    LUACTOR_TESTS = "OFF",
    LUACTOR_INSTALL_LIBRARY = "OFF",
  },
}
