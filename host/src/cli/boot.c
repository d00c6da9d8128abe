/* A script alone is spawned as a file and needs nothing from here. All other
 * command lines (-e, -l, -i, LUA_INIT, and mixtures) become one chunk, because
 * all steps run in one process, one after the other, and may wait in receive.
 *
 * The chunk is a fixed program below plus a table of steps. Its last step is a
 * tail call, so a script that looks at its own stack finds the same levels as
 * under `lua`. Tracebacks show what is left of the chunk as lines of its own
 * name, and la_boot_trim takes those out. */
#include "boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The script's arguments are what the steps before it have left in 'arg'. An
 * error with __tostring is printed without a traceback, which is what `lua` does
 * when a chunk does not load. */
static const char program[] =
    "local error, load, loadfile, setmetatable, type, unpack = "
    "error, load, loadfile, setmetatable, type, table.unpack\n"
    "local function loaded(f, message)\n"
    "  if f then return f end\n"
    "  error(setmetatable({}, { __tostring = function()\n"
    "    return message\n"
    "  end }))\n"
    "end\n"
    "local function args()\n"
    "  loaded(type(arg) == 'table', \"'arg' is not a table\")\n"
    "  return unpack(arg)\n"
    "end\n"
    "local step = {}\n"
    "function step.code(name, text)\n"
    "  return loaded(load(text, name))()\n"
    "end\n"
    "function step.module(global, module)\n"
    "  _G[global] = require(module)\n"
    "end\n"
    "function step.init(path)\n"
    "  return loaded(loadfile(path))()\n"
    "end\n"
    "function step.script(path)\n"
    "  return loaded(loadfile(path))(args())\n"
    "end\n"
    "function step.tool(name)\n"
    "  return require('luactor._tool.' .. name).main(args())\n"
    "end\n"
    "function step.repl()\n"
    "  return require 'luactor._repl'.run()\n"
    "end\n"
    "for i = 1, #steps - 1 do\n"
    "  step[steps[i][1]](steps[i][2], steps[i][3])\n"
    "end\n"
    "local last = steps[#steps]\n"
    "return step[last[1]](last[2], last[3])\n";

/* ---- a growing text ------------------------------------------------------ */

typedef struct text {
  char *bytes;
  size_t len;
  size_t room;
  bool failed;
} text_t;

static void add_bytes(text_t *t, const char *bytes, size_t len) {
  if (t->room - t->len < len + 1) {
    const size_t room = 2 * (t->len + len) + 256;
    char *bigger = t->failed ? NULL : realloc(t->bytes, room);
    if (bigger == NULL) {
      t->failed = true;
      return;
    }
    t->bytes = bigger;
    t->room = room;
  }
  memcpy(t->bytes + t->len, bytes, len);
  t->len += len;
  t->bytes[t->len] = '\0';
}

static void add(text_t *t, const char *text) {
  add_bytes(t, text, strlen(text));
}

/* As a Lua string literal on one line, any bytes. */
static void add_quoted(text_t *t, const char *bytes, size_t len) {
  add(t, "'");
  for (size_t i = 0; i < len; i++) {
    const unsigned char c = (unsigned char)bytes[i];
    char code[5];
    if (c < ' ' || c == '\'' || c == '\\' || c > '~') {
      snprintf(code, sizeof code, "\\%03d", c);
      add(t, code);
    } else {
      add_bytes(t, bytes + i, 1);
    }
  }
  add(t, "'");
}

/* One row of the table of steps; NULL for "nil". */
static void add_step(text_t *t, const char *kind, const char *first,
                     size_t first_len, const char *second) {
  add(t, "{ '");
  add(t, kind);
  add(t, "', ");
  if (first != NULL) {
    add_quoted(t, first, first_len);
  } else {
    add(t, "nil");
  }
  if (second != NULL) {
    add(t, ", ");
    add_quoted(t, second, strlen(second));
  }
  add(t, " }, ");
}

/* ---- the steps ----------------------------------------------------------- */

static bool add_init_steps(text_t *t, const la_args_t *args) {
  static const char *const names[] = {"LUA_INIT_5_4", "LUA_INIT"};
  for (int i = 0; !args->ignore_env && i < 2; i++) {
    const char *value = getenv(names[i]);
    if (value == NULL) {
      continue;
    }
    if (value[0] == '@') {
      add_step(t, "init", value + 1, strlen(value + 1), NULL);
    } else {
      char name[32];
      snprintf(name, sizeof name, "=%s", names[i]);
      add_step(t, "code", name, strlen(name), value);
    }
    return true;
  }
  return false;
}

/* node.start with the options of the command line. What is wrong with them is said
 * without a traceback, as of any other option. */
static bool add_node_step(text_t *t, const la_args_t *args) {
  static const struct {
    const char *field;
    bool is_number;
  } fields[] = {
#define X(sym, option, field, is_number) {field, is_number},
      LA_ARGS_NODES(X)
#undef X
  };
  text_t call = {0};
  bool has_tls = false, has_any = false;
  add(&call, "local ok, why = pcall(require 'luactor.node'.start, { ");
  for (int i = 0; i < LA_ARGS_NODE; i++) {
    const char *value = args->node[i];
    if (value == NULL) {
      continue;
    }
    if (i >= LA_ARGS_TLS && !has_tls) {
      has_tls = true;
      add(&call, "tls = { ");
    }
    has_any = true;
    add(&call, fields[i].field);
    add(&call, " = ");
    if (fields[i].is_number) {
      add(&call, value);
    } else {
      add_quoted(&call, value, strlen(value));
    }
    add(&call, ", ");
  }
  add(&call, has_tls ? "} })" : "})");
  add(&call, " if not ok then io.stderr:write('luactor: cannot start the node: ', "
             "(tostring(why):gsub('^node%.start: ', '')), '\\n') os.exit(1) end");
  if (call.failed) {
    t->failed = true;
  } else if (has_any) {
    add_step(t, "code", "=(command line)", 15, call.bytes);
  }
  free(call.bytes);
  return has_any;
}

static void add_action_step(text_t *t, const la_action_t *action) {
  static const char chunk_name[] = "=(command line)";
  if (action->kind == 'e') {
    add_step(t, "code", chunk_name, strlen(chunk_name), action->text);
    return;
  }
  const char *equals = strchr(action->text, '=');
  if (equals == NULL) {
    add_step(t, "module", action->text, strlen(action->text), action->text);
  } else {
    add_step(t, "module", action->text, (size_t)(equals - action->text),
             equals + 1);
  }
}

/* ---- standard input ------------------------------------------------------ */

/* A first line that starts with '#' is not Lua; its end stays, for the line
 * numbers. A byte order mark before it goes too. */
static void skip_first_comment(text_t *t) {
  size_t skip = 0;
  if (t->len >= 3 && memcmp(t->bytes, "\xEF\xBB\xBF", 3) == 0) {
    skip = 3;
  }
  if (t->len > skip && t->bytes[skip] == '#') {
    const char *end = memchr(t->bytes + skip, '\n', t->len - skip);
    skip = end != NULL ? (size_t)(end - t->bytes) : t->len;
  }
  t->len -= skip;
  memmove(t->bytes, t->bytes + skip, t->len);
}

static void read_stdin(text_t *t) {
  char block[8192];
  size_t n;
  add(t, ""); /* never NULL */
  while ((n = fread(block, 1, sizeof block, stdin)) > 0) {
    add_bytes(t, block, n);
  }
  if (!t->failed) {
    skip_first_comment(t);
  }
}

/* ---- interface ----------------------------------------------------------- */

static bool has_file(const la_args_t *args) {
  return args->script < args->argc && !args->from_stdin;
}

static void add_steps(text_t *t, const la_args_t *args) {
  for (int i = 0; i < args->n_actions; i++) {
    add_action_step(t, &args->actions[i]);
  }
  if (args->tool != NULL) {
    add_step(t, "tool", args->tool, strlen(args->tool), NULL);
  } else if (has_file(args)) {
    const char *path = args->argv[args->script];
    add_step(t, "script", path, strlen(path), NULL);
  } else if (args->from_stdin) {
    add_step(t, "script", NULL, 0, NULL);
  }
  if (args->interactive) {
    add_step(t, "repl", NULL, 0, NULL);
  }
}

void la_boot_init(la_boot_t *boot, const la_args_t *args) {
  *boot = (la_boot_t){.kind = LA_BOOT_NONE};
  text_t t = {0};
  add(&t, "local steps = { ");
  bool has_init = add_node_step(&t, args);
  has_init |= add_init_steps(&t, args);
  if (has_init || args->n_actions > 0 || args->interactive ||
      args->tool != NULL) {
    boot->kind = LA_BOOT_TEXT;
    add_steps(&t, args);
    add(&t, "} ");
    add(&t, program);
  } else if (args->from_stdin) {
    boot->kind = LA_BOOT_STDIN;
    t.len = 0;
    read_stdin(&t);
  } else if (has_file(args)) {
    boot->kind = LA_BOOT_FILE;
  }
  if (t.failed) {
    boot->kind = LA_BOOT_NOMEM;
  }
  boot->text = t.bytes;
  boot->len = t.len;
}

void la_boot_fini(la_boot_t *boot) {
  free(boot->text);
  boot->text = NULL;
}

static void cut(char *at, size_t len) {
  memmove(at, at + len, strlen(at + len) + 1);
}

/* Cut 'middle' out if the text ends with it and 'end' behind it. */
static void cut_before(char *text, const char *middle, const char *end) {
  const size_t len = strlen(text);
  const size_t middle_len = strlen(middle), end_len = strlen(end);
  if (len < middle_len + end_len) {
    return;
  }
  char *at = text + len - end_len - middle_len;
  if (strncmp(at, middle, middle_len) == 0 &&
      strcmp(at + middle_len, end) == 0) {
    cut(at, middle_len);
  }
}

/* Our chunk leaves three marks: the position that require puts before its
 * message (-l), lines of the traceback, and the tail call just above the
 * process's own [C] line. What has nothing but that line left never ran: a
 * chunk that does not load, for which `lua` prints no traceback. */
void la_boot_trim(const la_boot_t *boot, char *error) {
  static const char position[] = "(luactor):";
  static const char ours[] = "\n\t(luactor):";
  if (boot->kind == LA_BOOT_TEXT) {
    if (strncmp(error, position, strlen(position)) == 0) {
      const char *colon = strstr(error + strlen(position), ": ");
      cut(error, colon != NULL ? (size_t)(colon + 2 - error) : 0);
    }
    char *at;
    while ((at = strstr(error, ours)) != NULL) {
      cut(at, 1 + strcspn(at + 1, "\n"));
    }
    cut_before(error, "\n\t(...tail calls...)", "\n\t[C]: in ?");
  }
  cut_before(error, "\nstack traceback:\n\t[C]: in ?", "");
}

/* The directory of the script itself: a link in a bin directory leads to it. */
static char *script_dir(const char *script) {
  char target[1];
  char *path = readlink(script, target, sizeof target) >= 0
                   ? realpath(script, NULL)
                   : strdup(script);
  if (path == NULL) {
    return NULL;
  }
  char *slash = strrchr(path, '/');
  if (slash == NULL) {
    free(path);
    return strdup(".");
  }
  slash[slash == path ? 1 : 0] = '\0';
  return path;
}

char *la_boot_path(const la_args_t *args, const char *const *patterns) {
  if (!has_file(args)) {
    return NULL;
  }
  char *dir = script_dir(args->argv[args->script]);
  if (dir == NULL || strpbrk(dir, ";?") != NULL) {
    free(dir);
    return NULL;
  }
  text_t t = {0};
  for (int i = 0; patterns[i] != NULL; i++) {
    add(&t, i > 0 ? ";" : "");
    add(&t, dir);
    add(&t, patterns[i]);
  }
  free(dir);
  if (t.failed) {
    free(t.bytes);
    return NULL;
  }
  return t.bytes;
}
