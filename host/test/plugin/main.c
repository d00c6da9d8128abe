/* Loads the plugin for itself alone, twice, and runs it. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  for (int i = 0; i < 2; i++) {
    void *plugin = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    int (*run)(void);
    void *address = dlsym(plugin, "plugin_run");
    memcpy(&run, &address, sizeof run);
    const int status = run();
    if (status != 7) {
      fprintf(stderr, "round %d: status %d\n", i, status);
      return 1;
    }
    dlclose(plugin);
  }
  return 0;
}
