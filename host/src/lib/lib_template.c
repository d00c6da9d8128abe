/* See lib_template.h.
 *
 * Problem: a clone of the plain image is cheap, but then the process loads its
 * function from bytecode, looks for the modules that are its upvalues, and
 * requires them; that costs more than the clone. All of it gives the same
 * result each time. So it is done once, in a copy of the plain image, and the
 * result is an image again (mem/image.c, rule 6).
 *
 * What a process starts with is known before it runs, from its start term: the
 * code of a function (term/code.h gives functions that are sent often one address) or the
 * name "module.function". Code that has been started PROMOTE_FUNCTION times,
 * or a module PROMOTE_MODULE times, gets a template, built by the
 * process that comes next; whoever starts meanwhile, or when it is refused, does it the
 * plain way, which is why nobody needs to know.
 *
 * Upvalues. The template's function has those upvalues set whose encoding
 * says all: numbers, strings, identities, the globals, modules that may be loaded. The
 * encoding is kept, and a process whose upvalue is encoded
 * otherwise sets it as ever. Tables and functions are made by each process.
 *
 * Fields. The tables of the libraries are filled when they are touched
 * (mem/lazy.h). What every process with the code had touched when it first waited or
 * ended is noted with the code, and touched in the template.
 *
 * Modules. To load a module is to run its code, and here it runs four times, in no
 * process. That is right only for code that does nothing but make values:
 * luactor's own modules, and those that a program declares to be so. The
 * declaration is checked: a hook sees every call, and calls of functions that look
 * outside (deny_text lists them; of luactor, all but those that
 * make patterns) end the building. pcall does not hide it: the attempt itself refuses the
 * image. So does a module that runs too long or gets finalizers. What
 * a module keeps that depends on addresses is found by the comparison.
 *
 * A module that is refused is loaded by each process, as if nothing had been
 * declared. */
#include "lib/lib_template.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lib_core.h"
#include "lib/lib_start.h"
#include "term/tag.h"

enum {
  PROMOTE_FUNCTION = 100, /* building costs as much as some hundred starts */
  PROMOTE_MODULE = 3,
  MAX_TEMPLATES = 256,
  MAX_PRESET = 1024,   /* bytes of one upvalue */
  LOOK_INTERVAL = 1000, /* instructions */
  MAX_LOOKS = 20000    /* a module's code may run so long in an image */
};

static const char no_memory[] = "not enough memory"; /* as Lua says it */

/* What code->user says besides NULL and the template. */
static char busy; /* being built, or refused for good */

/* A module that was declared pure. Never removed. */
struct la_pure {
  la_pure_t *next;
  char name[];
};

/* ---- the process that is none ------------------------------------------------------ */

/* What the extra space of a template points to while it is built. */
typedef struct {
  la_proc_t proc; /* first: C functions take it for the process */
  const la_code_t *code;  /* the function, or NULL */
  const la_preset_t *presets;
  const char *module;     /* to be loaded, or NULL */
  la_code_t *notes;       /* whose fields to touch, or NULL */
  uint32_t looks;
  bool refused;
  char why[LA_IMAGE_WHY];
} building_t;

static building_t *new_building(la_host_t *host) {
  building_t *b = la_alloc_aligned(64, (sizeof *b + 63) / 64 * 64);
  if (b != NULL) {
    memset(b, 0, sizeof *b);
    b->proc.host = host;
    b->proc.wait.deadline_ns = UINT64_MAX;
  }
  return b;
}

bool la_template_is_building(lua_State *L) {
  return la_proc_of(L)->pid == LA_NO_ID;
}

/* ---- what may not be called -------------------------------------------------------- */

static const char deny_text[] =
    "local list = {}\n"
    "local function deny(t, allowed)\n"
    "  for k, v in pairs(t) do\n"
    "    if type(v) == 'function' and not (' ' .. allowed .. ' '):find(\n"
    "        ' ' .. k .. ' ', 1, true) then\n"
    "      list[#list + 1] = v\n"
    "    end\n"
    "  end\n"
    "end\n"
    "deny(require 'luactor', 'on after exact oneof match is request receiver '\n"
    "  .. 'atom tuple map atomkeys bin cons pid pack unpack')\n"
    "deny(require 'luactor._core', '')\n"
    "deny(os, 'difftime')\n"
    "deny(io, 'type')\n"
    "deny(getmetatable(io.stdout).__index, '')\n"
    "deny(coroutine, 'isyieldable running status')\n"
    "deny({ math.random, math.randomseed, package.loadlib, debug.sethook,\n"
    "  print, warn, dofile, loadfile, collectgarbage }, '')\n"
    "return list\n";

static int compare_functions(const void *a, const void *b) {
  const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
  return x < y ? -1 : x > y;
}

static int list_denied(lua_State *L) {
  la_host_t *host = la_proc_of(L)->host;
  if (luaL_loadbufferx(L, deny_text, sizeof deny_text - 1, "=deny", "t") !=
      LUA_OK) {
    return lua_error(L);
  }
  lua_call(L, 0, 1);
  const lua_Integer n = luaL_len(L, 1);
  uintptr_t *list = la_alloc((size_t)n * sizeof *list);
  if (list == NULL) {
    return luaL_error(L, "%s", no_memory);
  }
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    list[i - 1] = (uintptr_t)lua_tocfunction(L, -1);
    lua_pop(L, 1);
  }
  qsort(list, (size_t)n, sizeof *list, compare_functions);
  host->denied = list;
  host->ndenied = (uint32_t)n;
  return 0;
}

/* Ask a clone for the C functions that a template may not call. The functions have one
 * address in all states. Under host->templates_lock. */
static bool know_denied(la_host_t *host) {
  if (host->denied != NULL) {
    return true;
  }
  building_t *b = new_building(host);
  if (b == NULL) {
    return false;
  }
  la_heap_init(&b->proc.heap, 0);
  lua_State *L = la_image_clone(host->image, NULL, &b->proc.heap);
  bool ok = false;
  if (L != NULL) {
    la_exec_adopt(&b->proc.exec, L, &host->template_exec);
    lua_sethook(L, NULL, 0, 0); /* it is no process */
    lua_pushcfunction(L, list_denied);
    ok = lua_pcall(L, 0, 0, 0) == LUA_OK;
  }
  la_heap_fini(&b->proc.heap, NULL);
  la_free_aligned(b);
  return ok;
}

static bool is_denied(const la_host_t *host, lua_CFunction f) {
  const uintptr_t key = (uintptr_t)f;
  return bsearch(&key, host->denied, host->ndenied, sizeof key,
                 compare_functions) != NULL;
}

static void refuse(lua_State *L, building_t *b, const char *why) {
  if (!b->refused) {
    b->refused = true;
    snprintf(b->why, sizeof b->why, "%s", why);
  }
  luaL_error(L, "%s", why);
}

/* The hook of the coroutine in which a template is filled. */
static void watch(lua_State *L, lua_Debug *ar) {
  building_t *b = (building_t *)la_exec_of(L);
  if (ar->event == LUA_HOOKCOUNT) {
    if (++b->looks > MAX_LOOKS || b->refused) {
      refuse(L, b, "its code runs too long for an image");
    }
    return;
  }
  lua_getinfo(L, "fn", ar);
  const lua_CFunction f = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  if (f != NULL && is_denied(b->proc.host, f)) {
    char why[LA_IMAGE_WHY];
    snprintf(why, sizeof why, "cannot call '%s' while an image is built",
             ar->name != NULL ? ar->name : "?");
    refuse(L, b, why);
  }
}

/* ---- what may be in one -------------------------------------------------------------- */

static bool is_named(const char *name, size_t len, const char *text) {
  return strlen(text) == len && memcmp(name, text, len) == 0;
}

/* May the module be loaded into an image? */
static bool is_pure(la_host_t *host, const char *name, size_t len) {
  if (len >= 7 && memcmp(name, "luactor", 7) == 0 &&
      (len == 7 || name[7] == '.')) {
    return true;
  }
  static const char *const stock[] = {"string", "table", "math", "utf8",
                                      "coroutine", "os", "io", "debug",
                                      "package", "_G"};
  for (size_t i = 0; i < sizeof stock / sizeof *stock; i++) {
    if (is_named(name, len, stock[i])) {
      return true;
    }
  }
  /* Acquire: pairs with the release in declare. */
  for (la_pure_t *p = atomic_load_explicit(&host->pure, memory_order_acquire);
       p != NULL; p = p->next) {
    if (is_named(name, len, p->name)) {
      return true;
    }
  }
  return false;
}

/* Does the encoding of an upvalue say all there is to know? Its size, or 0. */
static size_t preset_size(la_host_t *host, const uint8_t *p) {
  switch (*p) {
    case LA_TAG_SMALL_INT: case LA_TAG_INT: case LA_TAG_INT64:
    case LA_TAG_NEW_FLOAT: case LA_TAG_RAW_FLOAT: case LA_TAG_ID:
    case LA_TAG_TRUE: case LA_TAG_FALSE: case LA_TAG_NIL:
    case LA_TAG_GLOBALS: case LA_TAG_BINARY:
      break;
    case LA_TAG_MODULE:
      if (!is_pure(host, (const char *)p + 6, la_get32(p + 2))) {
        return 0;
      }
      break;
    case LA_TAG_FIELD:
      if (!is_pure(host, (const char *)p + 9, la_get32(p + 1))) {
        return 0;
      }
      break;
    default:
      return 0;
  }
  const size_t size = (size_t)(la_skip(p) - p);
  return size <= MAX_PRESET ? size : 0;
}

/* ---- filling -------------------------------------------------------------------------- */

/* In the registry under the address of this: the function of the template. */
static const char function_key;

void la_template_push(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &function_key);
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &function_key);
}

/* Else the registry would be made anew for it, and leave a gap. */
void la_template_reserve(lua_State *L) {
  lua_pushboolean(L, 0);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &function_key);
}

static void begin(lua_State *L, void *ud) {
  building_t *b = ud;
  la_exec_adopt(&b->proc.exec, L, &b->proc.host->template_exec);
  b->looks = 0;
}

static void load_function(lua_State *L, const building_t *b) {
  const la_code_t *code = b->code;
  if (luaL_loadbufferx(L, (const char *)code->bytes, code->size, "=function",
                       "b") != LUA_OK) {
    lua_error(L);
  }
  for (int i = 1; lua_getupvalue(L, -1, i) != NULL; i++) {
    lua_pop(L, 1);
    const la_preset_t *up = &b->presets[i - 1];
    if (up->size != 0) {
      const la_term_t t = {.bytes = up->bytes, .size = up->size};
      if (!la_decode(L, &t, LA_TERM_LOCAL)) {
        lua_error(L);
      }
      lua_setupvalue(L, -2, i);
    }
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &function_key);
}

/* Have the fields made that all processes so far have touched. */
static void touch_fields(lua_State *L, const la_code_t *code) {
  const la_lazy_plan_t *plan = la_exec_of(L)->lazy->plan;
  uint64_t notes[LA_CODE_NOTES];
  for (int i = 0; i < LA_CODE_NOTES; i++) {
    notes[i] = atomic_load_explicit(&code->notes[i], memory_order_relaxed);
  }
  if (notes[0] == UINT64_MAX) {
    return; /* no process has told */
  }
  for (unsigned n = 0; n < plan->ntables; n++) {
    const la_lazy_table_t *t = &plan->tables[n];
    for (uint32_t i = 0; i < t->nfields; i++) {
      const uint32_t bit = t->first + i;
      if (notes[bit / 64] >> bit % 64 & 1) {
        la_lazy_push(L, n);
        lua_getfield(L, -1, t->fields[i].name);
        lua_pop(L, 2);
      }
    }
  }
}

void la_template_note(la_proc_t *p) {
  _Static_assert(LA_LAZY_FIELDS / 64 == LA_CODE_NOTES, "a bit for each field");
  for (int i = 0; i < LA_CODE_NOTES; i++) {
    atomic_fetch_and_explicit(&p->code->notes[i], p->exec.tables.taken[i],
                              memory_order_relaxed);
  }
  p->code = NULL;
}

static int fill(lua_State *L) {
  building_t *b = lua_touserdata(L, 1);
  lua_sethook(L, watch, LUA_MASKCALL | LUA_MASKCOUNT, LOOK_INTERVAL);
  if (b->notes != NULL) {
    touch_fields(L, b->notes);
  }
  if (b->module != NULL) {
    lua_getglobal(L, "require");
    lua_pushstring(L, b->module);
    lua_call(L, 1, 0);
  }
  if (b->code != NULL) {
    load_function(L, b);
  }
  if (b->refused) {
    return luaL_error(L, "%s", b->why);
  }
  void *random;
  if (!la_state_random(L, &random)) {
    return luaL_error(L, "the state of math.random is of an unknown kind");
  }
  if (b->proc.exec.has_finalizers != b->proc.host->template_exec.has_finalizers ||
      b->proc.exec.hooked) {
    return luaL_error(L, "it sets a finalizer or a hook");
  }
  return 0;
}

/* Where the clones get random numbers of their own. */
static void *find_random(lua_State *L, void *ud) {
  (void)ud;
  void *random;
  la_state_random(L, &random);
  return random;
}

/* Make the image of what 'b' says. NULL: refused, 'why' says. */
static la_template_t *build(building_t *b, char *why) {
  la_host_t *host = b->proc.host;
  const la_image_maker_t maker = {
      .begin = begin, .open = fill, .spot = find_random, .ud = b};
  la_template_t *t = la_zalloc(sizeof *t);
  if (t == NULL) {
    snprintf(why, LA_IMAGE_WHY, "%s", no_memory);
    return NULL;
  }
  t->image = la_image_derive(&host->pools, host->image, &maker, why);
  if (t->image == NULL && b->notes != NULL) {
    b->notes = NULL; /* a field that cannot be in one? */
    b->refused = false;
    t->image = la_image_derive(&host->pools, host->image, &maker, why);
  }
  if (t->image == NULL) {
    la_free(t);
    return NULL;
  }
  t->exec = b->proc.exec;
  return t;
}

static void free_template(la_template_t *t) {
  la_image_free(t->image);
  la_free(t->presets);
  la_free(t);
}

/* ---- deciding --------------------------------------------------------------------------- */

/* Room for one more? Also sees to what building needs. */
static bool may_build(la_host_t *host, char *why) {
  bool ok = false;
  la_lock(&host->templates_lock);
  if (host->ntemplates >= MAX_TEMPLATES) {
    snprintf(why, LA_IMAGE_WHY, "there are %d templates already",
             MAX_TEMPLATES);
  } else if (!know_denied(host)) {
    snprintf(why, LA_IMAGE_WHY, "%s", no_memory);
  } else {
    ok = true;
  }
  la_unlock(&host->templates_lock);
  return ok;
}

/* Only one may build; the others go on without. */
static bool claim(la_code_t *code) {
  void *none = NULL;
  return atomic_compare_exchange_strong(&code->user, &none, &busy);
}

static void publish(la_host_t *host, la_code_t *code, la_template_t *t,
                    const char *what, const char *why) {
  if (t == NULL) {
    la_log(host, LUACTOR_LOG_DEBUG, "no image for %s: %s", what, why);
    if (strstr(why, no_memory) != NULL) {
      atomic_store(&code->uses, 0);
      atomic_store(&code->user, NULL); /* another time, perhaps */
    }
    return; /* else it stays 'busy' */
  }
  la_lock(&host->templates_lock);
  host->ntemplates++;
  la_unlock(&host->templates_lock);
  /* Pairs with the acquire in template_in. */
  atomic_store_explicit(&code->user, t, memory_order_release);
}

/* The function at 'p', a FUNC whose code is kept. */
static void build_function(la_host_t *host, la_code_t *code,
                           const uint8_t *p) {
  const uint32_t n = p[1];
  char why[LA_IMAGE_WHY] = "not enough memory";
  size_t total = 0;
  const uint8_t *up = p + la_func_head(p);
  for (uint32_t i = 0; i < n; i++) {
    total += preset_size(host, up);
    up = la_skip(up);
  }
  building_t *b = may_build(host, why) ? new_building(host) : NULL;
  la_preset_t *presets = la_zalloc((n + 1) * sizeof *presets + total);
  la_template_t *t = NULL;
  if (b != NULL && presets != NULL) {
    uint8_t *bytes = (uint8_t *)(presets + n + 1);
    up = p + la_func_head(p);
    for (uint32_t i = 0; i < n; i++) {
      const size_t size = preset_size(host, up);
      presets[i] = (la_preset_t){bytes, size};
      memcpy(bytes, up, size);
      bytes += size;
      up = la_skip(up);
    }
    b->code = code;
    b->notes = code;
    b->presets = presets;
    t = build(b, why);
  }
  if (t != NULL) {
    t->presets = presets;
  } else {
    la_free(presets);
  }
  la_free_aligned(b);
  publish(host, code, t, "a function", why);
}

static void build_module(la_host_t *host, la_code_t *code, const char *name,
                         char why[LA_IMAGE_WHY]) {
  la_template_t *t = NULL;
  building_t *b = may_build(host, why) ? new_building(host) : NULL;
  if (b != NULL) {
    b->module = name;
    b->notes = code;
    t = build(b, why);
  }
  la_free_aligned(b);
  publish(host, code, t, name, why);
}

/* The template that hangs on 'code'; *wanted: it has none, and should get one now. */
static const la_template_t *template_in(la_code_t *code, uint32_t promote,
                                        bool *wanted) {
  void *user = atomic_load_explicit(&code->user, memory_order_acquire);
  *wanted = user == NULL &&
            atomic_fetch_add_explicit(&code->uses, 1, memory_order_relaxed) >=
                promote &&
            claim(code);
  return user == NULL || user == &busy ? NULL : user;
}

static const la_template_t *for_function(la_host_t *host, const uint8_t *p,
                                         la_code_t *code) {
  bool wanted;
  const la_template_t *t = template_in(code, PROMOTE_FUNCTION, &wanted);
  if (wanted) {
    build_function(host, code, p);
    t = template_in(code, 0, &wanted);
  }
  return t;
}

static la_code_t *module_entry(la_host_t *host, const char *name, size_t len) {
  char key[256];
  if (len + 2 > sizeof key) {
    return NULL;
  }
  /* With its zero: the name can be used as text, and is not bytecode. */
  memcpy(key, name, len);
  key[len] = '\0';
  return la_codes_get(&host->codes, key, len + 1, 1);
}

static const la_template_t *for_module(la_host_t *host, la_code_t *code) {
  bool wanted;
  const la_template_t *t = template_in(code, PROMOTE_MODULE, &wanted);
  if (wanted) {
    char why[LA_IMAGE_WHY] = "not enough memory";
    build_module(host, code, (const char *)code->bytes, why);
    t = template_in(code, 0, &wanted);
  }
  return t;
}

/* The entry of the module to which a function of this name belongs, if it may be in
 * a template. */
static la_code_t *module_of(la_host_t *host, const char *name, size_t len) {
  while (len > 0 && name[len - 1] != '.') {
    len--;
  }
  return len > 1 && is_pure(host, name, len - 1)
             ? module_entry(host, name, len - 1)
             : NULL;
}

const la_template_t *la_template_for(la_host_t *host, const la_start_t *s,
                                     la_code_t **code) {
  const la_template_t *found = NULL;
  *code = NULL;
  if (s->kind != LA_START_CALL || s->env != NULL) {
    return NULL;
  }
  la_term_t t;
  la_msg_term(s->term, &t);
  const uint8_t *p = t.bytes + 5; /* the first element of a list */
  if (*p == LA_TAG_FUNC || *p == LA_TAG_FUNC_S) {
    *code = la_func_code(p);
    found = *code != NULL ? for_function(host, p, *code) : NULL;
  } else if (*p == LA_TAG_FIELD || *p == LA_TAG_BINARY) {
    const char *name = (const char *)p + (*p == LA_TAG_FIELD ? 9 : 5);
    const uint32_t len = la_get32(p + 1);
    *code = *p == LA_TAG_BINARY        ? module_of(host, name, len)
            : is_pure(host, name, len) ? module_entry(host, name, len)
                                       : NULL;
    found = *code != NULL ? for_module(host, *code) : NULL;
  }
  if (found != NULL) {
    *code = NULL; /* no need for notes any more */
  }
  return found;
}

/* ---- declaring ------------------------------------------------------------------------------ */

static bool declare(la_host_t *host, const char *name) {
  const size_t len = strlen(name);
  if (is_pure(host, name, len)) {
    return true;
  }
  la_pure_t *p = la_alloc(sizeof *p + len + 1);
  if (p == NULL) {
    return false;
  }
  memcpy(p->name, name, len + 1);
  la_lock(&host->templates_lock);
  p->next = atomic_load(&host->pure);
  atomic_store_explicit(&host->pure, p, memory_order_release);
  la_unlock(&host->templates_lock);
  return true;
}

bool la_template_has_module(la_host_t *host, const char *name) {
  const size_t len = strlen(name);
  la_code_t *code =
      is_pure(host, name, len) ? module_entry(host, name, len) : NULL;
  bool wanted;
  return code != NULL && template_in(code, UINT32_MAX, &wanted) != NULL;
}

bool la_template_preload(la_host_t *host, const char *name,
                         char why[LA_IMAGE_WHY]) {
  if (!la_state_image(host)) {
    snprintf(why, LA_IMAGE_WHY, "there are no images in this host");
    return false;
  }
  snprintf(why, LA_IMAGE_WHY, "%s", no_memory);
  la_code_t *code = module_entry(host, name, strlen(name));
  if (code == NULL || !declare(host, name)) {
    return false;
  }
  if (claim(code)) {
    build_module(host, code, (const char *)code->bytes, why);
  } else {
    snprintf(why, LA_IMAGE_WHY, "it was refused before");
  }
  bool wanted;
  return template_in(code, UINT32_MAX, &wanted) != NULL;
}

/* ---- life of the host -------------------------------------------------------------------------- */

void la_templates_init(la_host_t *host) {
  la_lock_init(&host->templates_lock, LA_RANK_TEMPLATES);
}

static void forget(la_code_t *code) {
  void *user = atomic_load(&code->user);
  if (user != NULL && user != &busy) {
    free_template(user);
  }
}

void la_templates_fini(la_host_t *host) {
  la_codes_each(&host->codes, forget);
  while (atomic_load(&host->pure) != NULL) {
    la_pure_t *p = atomic_load(&host->pure);
    atomic_store(&host->pure, p->next);
    la_free(p);
  }
  la_free(host->denied);
  la_lock_fini(&host->templates_lock);
}
