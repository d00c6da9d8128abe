/* The command line of `luactor`: what it asks for, with nothing done yet. */
#ifndef LA_ARGS_H
#define LA_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "luactor.h"

/* -e text, -l name: in the order given. */
typedef struct la_action {
  char kind;        /* 'e' or 'l' */
  const char *text; /* borrowed from argv */
} la_action_t;

typedef enum {
  LA_ARGS_RUN,     /* go on */
  LA_ARGS_HELP,    /* -h, --help */
  LA_ARGS_VERSION, /* --version */
  LA_ARGS_BAD      /* 'problem' says what is wrong */
} la_args_verdict_t;

/* X(symbol, option, field of node.start, is it a number) */
#define LA_ARGS_NODES(X)                         \
  X(NAME, "name", "name", false)                 \
  X(COOKIE, "cookie", "cookie", false)           \
  X(COOKIE_FILE, "cookie-file", "cookie_file", false) \
  X(LISTEN, "listen", "listen", true)            \
  X(TLS, "tls", "cert", false)                   \
  X(TLS_KEY, "tls-key", "key", false)            \
  X(TLS_CA, "tls-ca", "ca", false)

enum la_args_node {
#define X(sym, option, field, is_number) LA_ARGS_##sym,
  LA_ARGS_NODES(X)
#undef X
  LA_ARGS_NODE /* how many */
};

typedef struct la_args {
  int argc;
  char **argv;
  int script; /* index in argv; argc when no script is named */
  const char *tool; /* argv[script] is the name of one of ours; or NULL */
  int n_actions;
  la_action_t *actions; /* owned */
  bool from_stdin;      /* the script is standard input */
  bool interactive;     /* -i, or nothing else to do at a terminal */
  bool show_version;    /* -v, or interactive */
  bool ignore_env;      /* -E */
  bool warnings;        /* -W */
  int schedulers;       /* this and the next four as in luactor_config */
  int preempt;
  int reductions;
  size_t max_heap;
  unsigned max_processes;
  const char *node[LA_ARGS_NODE]; /* options of nodes, by la_args_node; NULL:
                                   * not given */
  char problem[256];
} la_args_t;

/* Read the command line. 'argv' must outlive the result; la_args_free is
 * called whatever the verdict. */
la_args_verdict_t la_args_parse(la_args_t *args, int argc, char **argv);
void la_args_free(la_args_t *args);

/* The text of --help. */
extern const char la_args_help[];

#endif
