/* Short options mean what they mean to `lua`; everything of ours is long. An
 * option's value stands in the same word after "=" or in the next word. */
#include "args.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char la_args_help[] =
    "usage: luactor [options] [script [args]]\n"
    "       luactor [options] test|new|check [args]\n"
    "  script          run this file as the first process; '-': stdin\n"
    "  test [files]    run specs, each file in a process of its own\n"
    "  new dir         make a project that runs and has a spec\n"
    "  check [files]   check syntax, and more with luacheck\n"
    "                  (a script of such a name: ./test; each has --help)\n"
    "  -e code         run a chunk (may be given several times)\n"
    "  -l mod, -l g=mod    require 'mod' into a global (named 'g')\n"
    "  -i              enter a REPL; its lines run in one process\n"
    "  -v              show the version\n"
    "  -E              ignore environment variables\n"
    "  -W              turn warnings on\n"
    "  --              end of options; what follows is a script\n"
    "  --schedulers N  scheduler threads (default: number of processors)\n"
    "  --preempt tick|count|count:N\n"
    "                  end a slice by time (default), or after N instructions\n"
    "  --max-heap BYTES    memory limit of every process; K, M, G allowed\n"
    "  --max-processes N   limit of the host\n"
    "  --name NAME@HOST    be a node of this name\n"
    "  --cookie SECRET     what nodes must have in common\n"
    "  --cookie-file FILE  the same, read from a file\n"
    "  --listen PORT       where other nodes connect; 0: any (default: nowhere)\n"
    "  --tls FILE      certificate of the node; connections are encrypted\n"
    "  --tls-key FILE  its key\n"
    "  --tls-ca FILE   certificates of who may connect\n"
    "  --version       show the version and exit\n"
    "  -h, --help      show this text and exit\n";

/* What the host can take; it would lower what is above in silence. */

#ifdef LUACTOR_PREFER_COUNT
enum { DEFAULT_PREEMPT = LUACTOR_PREEMPT_COUNT };
#else
enum { DEFAULT_PREEMPT = LUACTOR_PREEMPT_TICK };
#endif

static la_args_verdict_t bad(la_args_t *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static la_args_verdict_t bad(la_args_t *args, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(args->problem, sizeof args->problem, format, values);
  va_end(values);
  return LA_ARGS_BAD;
}

/* A whole number from min to max, with a K, M or G behind it if 'scaled'. */
static bool read_number(const char *text, bool scaled, uintmax_t min,
                        uintmax_t max, uintmax_t *value) {
  if (text[0] < '0' || text[0] > '9') {
    return false; /* strtoumax takes blanks and signs */
  }
  char *end;
  errno = 0;
  uintmax_t n = strtoumax(text, &end, 10);
  if (errno != 0) {
    return false;
  }
  if (scaled && *end != '\0') {
    static const char units[] = "KMG";
    const char *unit = strchr(units, *end & ~0x20);
    if (unit == NULL || *(end + 1) != '\0') {
      return false;
    }
    const unsigned shift = 10 * (unsigned)(unit - units + 1);
    if (n > UINTMAX_MAX >> shift) {
      return false;
    }
    n <<= shift;
    end++;
  }
  if (*end != '\0' || n < min || n > max) {
    return false;
  }
  *value = n;
  return true;
}

static la_args_verdict_t set_schedulers(la_args_t *args, const char *text) {
  uintmax_t n;
  if (!read_number(text, false, 1, LUACTOR_MAX_SCHEDULERS, &n)) {
    return bad(args, "--schedulers: a number from 1 to %d expected, got '%s'",
               LUACTOR_MAX_SCHEDULERS, text);
  }
  args->schedulers = (int)n;
  return LA_ARGS_RUN;
}

static la_args_verdict_t set_preempt(la_args_t *args, const char *text) {
  uintmax_t n = 0;
  if (strcmp(text, "tick") == 0) {
    args->preempt = LUACTOR_PREEMPT_TICK;
  } else if (strcmp(text, "count") == 0 ||
             (strncmp(text, "count:", 6) == 0 &&
              read_number(text + 6, false, 1, INT_MAX, &n))) {
    args->preempt = LUACTOR_PREEMPT_COUNT;
    args->reductions = (int)n;
  } else {
    return bad(args, "--preempt: tick, count or count:N expected, got '%s'",
               text);
  }
  return LA_ARGS_RUN;
}

static la_args_verdict_t set_max_heap(la_args_t *args, const char *text) {
  uintmax_t n;
  if (!read_number(text, true, 1, SIZE_MAX, &n)) {
    return bad(args, "--max-heap: a number of bytes expected, got '%s'", text);
  }
  args->max_heap = (size_t)n;
  return LA_ARGS_RUN;
}

static la_args_verdict_t set_max_processes(la_args_t *args, const char *text) {
  uintmax_t n;
  if (!read_number(text, false, 1, LUACTOR_MAX_PROCESSES, &n)) {
    return bad(args,
               "--max-processes: a number from 1 to %d expected, got '%s'",
               (int)LUACTOR_MAX_PROCESSES, text);
  }
  args->max_processes = (unsigned)n;
  return LA_ARGS_RUN;
}

static const struct {
  const char *name;
  la_args_verdict_t (*set)(la_args_t *args, const char *text);
} long_options[] = {
    {"schedulers", set_schedulers},
    {"preempt", set_preempt},
    {"max-heap", set_max_heap},
    {"max-processes", set_max_processes},
};

static const char *const node_options[] = {
#define X(sym, option, field, is_number) option,
    LA_ARGS_NODES(X)
#undef X
};

/* argv[*at] starts with "--" and goes on; moves *at to its last word. */
static la_args_verdict_t long_option(la_args_t *args, int *at) {
  const char *word = args->argv[*at] + 2;
  const char *equals = strchr(word, '=');
  const size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
  if (strcmp(word, "help") == 0) {
    return LA_ARGS_HELP;
  }
  if (strcmp(word, "version") == 0) {
    return LA_ARGS_VERSION;
  }
  const size_t n = sizeof long_options / sizeof long_options[0];
  for (size_t i = 0; i < n; i++) {
    const char *name = long_options[i].name;
    if (strlen(name) != len || strncmp(name, word, len) != 0) {
      continue;
    }
    const char *value = equals != NULL ? equals + 1 : args->argv[++*at];
    if (value == NULL) {
      return bad(args, "--%s needs an argument", name);
    }
    return long_options[i].set(args, value);
  }
  for (int i = 0; i < LA_ARGS_NODE; i++) {
    const char *name = node_options[i];
    if (strlen(name) != len || strncmp(name, word, len) != 0) {
      continue;
    }
    args->node[i] = equals != NULL ? equals + 1 : args->argv[++*at];
    uintmax_t port;
    if (args->node[i] == NULL) {
      return bad(args, "--%s needs an argument", name);
    }
    if (i == LA_ARGS_LISTEN &&
        !read_number(args->node[i], false, 0, 65535, &port)) {
      return bad(args, "--listen: a port from 0 to 65535 expected, got '%s'",
                 args->node[i]);
    }
    return LA_ARGS_RUN;
  }
  return bad(args, "unrecognized option '--%s'", word);
}

/* argv[*at] is "-x...", moves *at to its last word. */
static la_args_verdict_t short_option(la_args_t *args, int *at) {
  const char *word = args->argv[*at];
  const char kind = word[1];
  if (kind == 'e' || kind == 'l') {
    const char *text = word + 2;
    if (*text == '\0') {
      text = args->argv[++*at];
      if (text == NULL || text[0] == '-') {
        return bad(args, "'-%c' needs argument", kind);
      }
    }
    args->actions[args->n_actions++] = (la_action_t){kind, text};
    return LA_ARGS_RUN;
  }
  if (word[2] != '\0') {
    return bad(args, "unrecognized option '%s'", word);
  }
  switch (kind) {
    case 'h':
      return LA_ARGS_HELP;
    case 'E':
      args->ignore_env = true;
      return LA_ARGS_RUN;
    case 'W':
      args->warnings = true;
      return LA_ARGS_RUN;
    case 'i':
      args->interactive = true;
      args->show_version = true; /* as `lua` does */
      return LA_ARGS_RUN;
    case 'v':
      args->show_version = true;
      return LA_ARGS_RUN;
    default:
      return bad(args, "unrecognized option '%s'", word);
  }
}

/* A bare word of these is no script; one with a directory is. */
static const char *find_tool(const char *word) {
  static const char *const tools[] = {"test", "new", "check"};
  for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
    if (strcmp(word, tools[i]) == 0) {
      return tools[i];
    }
  }
  return NULL;
}

/* Without script, -e, -i and -v, the chunk comes from standard input. */
static void find_source(la_args_t *args) {
  if (args->script < args->argc) {
    args->from_stdin = strcmp(args->argv[args->script], "-") == 0;
    return;
  }
  bool has_code = false;
  for (int i = 0; i < args->n_actions; i++) {
    has_code = has_code || args->actions[i].kind == 'e';
  }
  if (has_code || args->show_version) {
    return;
  }
  const bool terminal = isatty(STDIN_FILENO);
  args->interactive = args->show_version = terminal;
  args->from_stdin = !terminal;
}

la_args_verdict_t la_args_parse(la_args_t *args, int argc, char **argv) {
  *args = (la_args_t){
      .argc = argc, .argv = argv, .script = argc, .preempt = DEFAULT_PREEMPT};
  args->actions = calloc((size_t)argc + 1, sizeof *args->actions);
  if (args->actions == NULL) {
    return bad(args, "not enough memory");
  }
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (word[0] != '-' || word[1] == '\0') { /* a name, or "-" */
      args->script = i;
      args->tool = find_tool(word);
      break;
    }
    if (strcmp(word, "--") == 0) {
      args->script = i + 1;
      break;
    }
    const la_args_verdict_t verdict =
        word[1] == '-' ? long_option(args, &i) : short_option(args, &i);
    if (verdict != LA_ARGS_RUN) {
      return verdict;
    }
  }
  for (int i = 0; i < LA_ARGS_NODE; i++) {
    if (args->node[i] != NULL && args->node[LA_ARGS_NAME] == NULL) {
      return bad(args, "--%s needs --name", node_options[i]);
    }
  }
  find_source(args);
  return LA_ARGS_RUN;
}

void la_args_free(la_args_t *args) {
  free(args->actions);
  args->actions = NULL;
}
