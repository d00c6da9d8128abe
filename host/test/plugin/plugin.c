/* A plugin that uses luactor: its program knows nothing of Lua. */
#include <luactor.h>
#include <string.h>

LUACTOR_API int plugin_run(void);

int plugin_run(void) {
  static const char code[] =
      "local cjson, lpeg, lfs = require 'cjson', require 'lpeg', require 'lfs'\n"
      "assert(cjson.encode { 1, 2 } == '[1,2]')\n"
      "assert(lpeg.match(lpeg.P 'a', 'a') == 2)\n"
      "assert(lfs.currentdir())\n"
      "require 'luactor'.halt(7)";
  luactor_config config;
  luactor_host *host;
  luactor_config_init(&config);
  config.log = luactor_log_stderr;
  if (luactor_open(&config, &host) != 0) {
    return -1;
  }
  luactor_spawn_string(host, code, strlen(code), "=plugin", 0, NULL, 0, NULL);
  const int status = luactor_run(host);
  return luactor_close(host) == 0 ? status : -1;
}
