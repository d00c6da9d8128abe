/* What the first process of the command runs. */
#ifndef LA_BOOT_H
#define LA_BOOT_H

#include <stdbool.h>
#include <stddef.h>

#include "args.h"

/* Name of the chunk made here, as la_boot_trim finds it in tracebacks. */
#define LA_BOOT_CHUNK "=(luactor)"

typedef enum {
  LA_BOOT_FILE,  /* the script alone: run args->script as a file */
  LA_BOOT_TEXT,  /* run 'text', a chunk that does the steps in order */
  LA_BOOT_STDIN, /* run 'text', which came from standard input */
  LA_BOOT_NONE,  /* nothing to run (-v alone) */
  LA_BOOT_NOMEM,
} la_boot_kind_t;

typedef struct la_boot {
  la_boot_kind_t kind;
  char *text; /* owned */
  size_t len;
} la_boot_t;

/* Compose the first chunk from the command line and LUA_INIT, as `lua` orders
 * them. Reads standard input when it is all there is to run. */
void la_boot_init(la_boot_t *boot, const la_args_t *args);
void la_boot_fini(la_boot_t *boot);

/* Make an error of the first process, with its traceback, read as that of
 * `lua`: what 'boot' left in it goes, in place. */
void la_boot_trim(const la_boot_t *boot, char *error);

/* The templates for modules beside the script, for package.path and
 * package.cpath, in malloced memory; NULL when there is no script or its
 * directory cannot be written in a template. */
char *la_boot_path(const la_args_t *args, const char *const *patterns);

#endif
