/* See lib_start.h.
 *
 * The main function of a process makes the function to run and calls it, both under
 * lua_pcallk with a message handler, so that a traceback is taken at the place of the
 * error, and turns what becomes of it into the exit reason. It is the only C frame
 * below that function, as in the stand-alone interpreter. */
#include "lib/lib_start.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lib/lib_core.h"
#include "lib/lib_gc.h"
#include "lib/lib_std.h"
#include "lib/lib_template.h"
#include "proc/host.h"

/* ---- the state ----------------------------------------------------------------- */

/* The state of math.random, as math.randomseed(n1, n2) makes it: xoshiro256**, warmed
 * up by sixteen steps. Written into the clones of images that hold it. */
typedef struct {
  uint64_t s[4];
} random_state_t;

static uint64_t rotate(uint64_t x, int n) {
  return x << n | x >> (64 - n);
}

static random_state_t random_state(uint64_t n1, uint64_t n2) {
  random_state_t r = {{n1, 0xFF, n2, 0}};
  for (int i = 0; i < 16; i++) {
    const uint64_t s1 = r.s[1];
    r.s[2] ^= r.s[0];
    r.s[3] ^= s1;
    r.s[1] ^= r.s[2];
    r.s[0] ^= r.s[3];
    r.s[2] ^= s1 << 17;
    r.s[3] = rotate(r.s[3], 45);
  }
  return r;
}

static const uint64_t template_seed[2] = {1, 2};

static void choose_seed(const la_proc_t *p, uint64_t seed[2]) {
  const la_host_t *host = p->host;
  seed[0] = host->config.seed;
  seed[1] = p->pid;
  if (seed[0] == 0) {
    la_random(&host->env, seed, 2 * sizeof *seed);
  }
}

/* math.random and math.randomseed, when one of them is touched. */
static int make_random(lua_State *L) {
  uint64_t seed[2];
  choose_seed(la_proc_of(L), seed);
  la_std_push_random(L, lua_tostring(L, 1),
                     la_template_is_building(L) ? template_seed : seed);
  return 1;
}

bool la_state_random(lua_State *L, void **state) {
  const random_state_t expected =
      random_state(template_seed[0], template_seed[1]);
  size_t size;
  *state = la_std_random(L, &size);
  return *state == NULL || (size == sizeof expected &&
                            memcmp(*state, &expected, sizeof expected) == 0);
}

/* Bytes of a warning; a longer one loses the pieces that do not fit. */
#define MAX_WARNING 256

/* Warnings go to the log, one line each; "@on" and "@off" as in lua. */
static void on_warning(void *ud, const char *text, int to_continue) {
  la_proc_t *p = ud;
  if (!p->warn_begun && !to_continue && text[0] == '@') {
    if (strcmp(text, "@on") == 0) {
      p->warn_on = true;
    } else if (strcmp(text, "@off") == 0) {
      p->warn_on = false;
    }
    return;
  }
  p->warn_begun = to_continue != 0;
  if (!p->warn_on) {
    return;
  }
  const size_t len = strlen(text);
  if (p->warn_text == NULL) {
    p->warn_text = la_alloc(MAX_WARNING);
  }
  if (p->warn_text == NULL) {
    return;
  }
  if (p->warn_len + len < MAX_WARNING) {
    memcpy(p->warn_text + p->warn_len, text, len + 1);
    p->warn_len += (uint16_t)len;
  }
  if (!to_continue) {
    la_log_bare(p->host, LUACTOR_LOG_WARN, "Lua warning: ", p->warn_text);
    p->warn_len = 0;
  }
}

/* The codec of a state that needs one; false: it does with the API. */
static int make_codec(lua_State *L) {
  if (la_proc_of(L)->host->direct) {
    return la_codec_make(L);
  }
  lua_pushboolean(L, 0);
  return 1;
}

static const luaL_Reg registry[] = {{LA_CODEC_NAME, make_codec}, {NULL, NULL}};
static const luaL_Reg math[] = {
    {"random", make_random}, {"randomseed", make_random}, {NULL, NULL}};
static const la_std_part_t own_parts[] = {{LA_TABLE_REGISTRY, registry, true},
                                          {LA_TABLE_MATH, math, true},
                                          {0, NULL, false}};
static const la_std_part_t *const parts[] = {
    own_parts,      la_embed_parts, la_core_parts,    la_spawn_parts,
    la_send_parts,  la_match_parts, la_receive_parts, la_call_parts,
    la_types_parts,
    NULL};

bool la_state_prepare(la_host_t *host) {
  host->std = la_std_new(parts, la_embed_open_package);
  return host->std != NULL;
}

void la_state_forget(la_host_t *host) {
  la_std_free(host->std);
}

/* All that the processes of a host have in common. */
static void open_libs(lua_State *L, const la_host_t *host) {
  la_std_open(L, host->std);
  la_ident_open(L);
  la_methods_open(L);
}

static void begin_exec(la_exec_t *x, lua_State *L, const la_host_t *host) {
  la_exec_init(x, L,
               host->config.preempt == LUACTOR_PREEMPT_TICK
                   ? LA_PREEMPT_TICK
                   : LA_PREEMPT_COUNT,
               host->config.reductions);
}

/* ---- the image of a new state ----------------------------------------------------- */

/* What the template is made of. Processes adopt 'exec'. */
typedef struct {
  la_host_t *host;
  la_exec_t *exec;
  la_closing_t closing;
} template_t;

static void template_begin(lua_State *L, void *ud) {
  const template_t *t = ud;
  begin_exec(t->exec, L, t->host);
  t->exec->closing = t->closing;
}

static int template_open(lua_State *L) {
  const template_t *t = lua_touserdata(L, 1);
  open_libs(L, t->host);
  la_template_reserve(L);
  return 0;
}

static la_image_t *make_image(la_host_t *host) {
  char why[LA_IMAGE_WHY];
  template_t t = {.host = host,
                  .exec = &host->template_exec,
                  .closing = la_exec_learn_closing()};
  const la_image_maker_t maker = {
      .begin = template_begin, .open = template_open, .ud = &t};
  la_image_t *im = la_image_new(&host->pools, &maker, why);
  if (im == NULL) {
    la_log(host, LUACTOR_LOG_INFO, "processes are built without an image: %s",
           why);
  }
  return im;
}

/* The image, once there is one. The first process does without, since it may stay
 * the only one; the second makes the image; nobody waits for it. */
static la_image_t *image_of(la_host_t *host) {
  int state = atomic_load_explicit(&host->image_state, memory_order_acquire);
  if (state == LA_IMAGE_MADE) {
    return host->image;
  }
  if (state > LA_IMAGE_WANTED ||
      !atomic_compare_exchange_strong(&host->image_state, &state, state + 1) ||
      state == LA_IMAGE_FIRST) {
    return NULL;
  }
  host->image = make_image(host);
  if (host->image != NULL && host->template_exec.closing.base != 0) {
    atomic_store_explicit(
        &host->stack_at,
        (uint32_t)la_image_points_to(host->image,
                                     host->template_exec.closing.base),
        memory_order_relaxed);
  }
  /* Pairs with the load above. */
  atomic_store_explicit(&host->image_state,
                        host->image != NULL ? LA_IMAGE_MADE : LA_IMAGE_NONE,
                        memory_order_release);
  return host->image;
}

/* Who cannot wait for the second process makes it itself; while another thread is at it,
 * there is none. */
const la_image_t *la_state_image(la_host_t *host) {
  la_image_t *im = image_of(host);
  return im != NULL ? im : image_of(host);
}

/* ---- opening and closing ------------------------------------------------------------ */

static int proc_main(lua_State *L);

static bool state_clone(la_proc_t *p, const la_image_t *im) {
  const la_template_t *t = la_sandbox_of(p) == NULL
                               ? la_template_for(p->host, p->start, &p->code)
                               : NULL; /* nothing may be there already */
  if (t != NULL) {
    im = t->image;
    p->start->tmpl = t;
  }
  lua_State *L = la_image_clone(im, la_host_pool_cache(p->host), &p->heap);
  if (L == NULL) {
    return false;
  }
  la_exec_adopt(&p->exec, L, t != NULL ? &t->exec : &p->host->template_exec);
  if (la_image_has_spot(im)) {
    uint64_t seed[2];
    choose_seed(p, seed);
    const random_state_t r = random_state(seed[0], seed[1]);
    memcpy(la_image_spot(im, L), &r, sizeof r);
  }
  if (la_heap_is_over(&p->heap)) {
    p->heap.on_limit(&p->heap);
    return false;
  }
  return true;
}

static int build_call(lua_State *L) {
  lua_gc(L, LUA_GCSTOP);
  open_libs(L, la_proc_of(L)->host);
  lua_gc(L, LUA_GCRESTART);
  return 0;
}

static bool state_build(la_proc_t *p) {
  lua_State *L = lua_newstate(la_heap_realloc, &p->heap);
  if (L == NULL) {
    if (p->heap.refused != 0) { /* Lua does not ask again here */
      p->heap.on_limit(&p->heap);
    }
    return false;
  }
  begin_exec(&p->exec, L, p->host);
  lua_pushcfunction(L, build_call);
  return lua_pcall(L, 0, 0, 0) == LUA_OK;
}

static void set_gc(lua_State *L, la_gc_mode_t mode) {
  if (mode == LA_GC_GENERATIONAL) {
    lua_gc(L, LUA_GCGEN, 0, 0);
  } else if (mode == LA_GC_OFF) {
    lua_gc(L, LUA_GCSTOP);
  }
}

bool la_state_open(la_proc_t *p) {
  la_host_t *host = p->host;
  la_image_t *im = image_of(host);
  const bool stop = p->exec.stop;
  if (!(im != NULL ? state_clone(p, im) : state_build(p))) {
    return false; /* la_state_close frees what there is */
  }
  lua_State *L = p->exec.L;
  la_shut_state(p);
  p->exec.stop = stop || p->exec.stop;
  p->exec.poll = la_proc_poll;
  p->exec.handle = p->tenant != NULL ? la_group_handle : NULL;
  p->warn_on = host->config.lua_warnings != 0;
  lua_setwarnf(L, on_warning, p);
  set_gc(L, p->start->gc);
  lua_pushcfunction(L, proc_main);
  return true;
}

void la_state_close(la_proc_t *p) {
  lua_State *L = p->exec.L;
  if (L != NULL && p->exec.has_finalizers) {
    /* Neither limits nor the end may stop what closes files and the like. */
    p->heap.limit = 0;
    la_gc_finish(L);
    lua_close(L);
  }
  p->exec.L = NULL;
  la_heap_fini(&p->heap, la_host_pool_cache(p->host));
}

/* ---- errors ------------------------------------------------------------------------ */

/* Push the text of an error value as the stand-alone interpreter words it, the
 * metamethod called from the same level of the stack. True: a traceback belongs
 * under it. */
static bool push_error_text(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (lua_isstring(L, idx)) {
    lua_pushstring(L, lua_tostring(L, idx));
    return true;
  }
  if (luaL_getmetafield(L, idx, "__tostring") != LUA_TNIL) {
    lua_pushvalue(L, idx);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING) {
      return false;
    }
    lua_pop(L, 1);
  }
  lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, idx));
  return true;
}

static char *copy_text(const char *s, size_t len) {
  char *copy = s != NULL ? la_alloc(len + 1) : NULL;
  if (copy != NULL) {
    memcpy(copy, s, len + 1);
  }
  return copy;
}

/* The message handler: keeps text and traceback outside the state, leaves the
 * error value as it is. */
static int on_error(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  if (!p->ending) {
    size_t len;
    const bool traced = push_error_text(L, 1);
    luaL_traceback(L, L, NULL, 1);
    const char *trace = lua_tolstring(L, -1, &len);
    la_free(p->error_trace);
    p->error_trace = copy_text(trace, len);
    const bool loading = p->start != NULL; /* a chunk that does not compile */
    if (traced && !loading) {
      lua_pushfstring(L, "%s\n%s", lua_tostring(L, -2), trace);
    } else {
      lua_pushvalue(L, -2);
    }
    const char *text = lua_tolstring(L, -1, &len);
    la_free(p->error_text);
    p->error_text = copy_text(text, len);
  }
  lua_settop(L, 1);
  return 1;
}

/* { "error", e, traceback }, e as text when it cannot travel. */
static la_reason_t *error_reason(lua_State *L, la_proc_t *p) {
  const char *trace = p->error_trace != NULL ? p->error_trace : "";
  for (int as_text = 0; as_text < 2; as_text++) {
    la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
    if (e == NULL) {
      return NULL;
    }
    const int top = lua_gettop(L);
    la_reason_t *r = NULL;
    bool ok = la_encode_list(e, 3) && la_encode_str(e, "error", 5);
    if (ok && as_text) {
      push_error_text(L, top);
      size_t len;
      const char *text = lua_tolstring(L, -1, &len);
      ok = la_encode_str(e, text, len);
    } else if (ok) {
      ok = la_encode(e, L, top, "reason");
    }
    if (ok && la_encode_str(e, trace, strlen(trace)) &&
        la_encode_list_end(e)) {
      la_term_t t;
      la_encoder_term(e, &t);
      r = la_reason_new(&t);
    }
    la_encoder_end(e);
    lua_settop(L, top);
    if (r != NULL) {
      return r;
    }
  }
  return NULL;
}

static int error_reason_call(lua_State *L) {
  la_reason_t **r = lua_touserdata(L, 2);
  lua_settop(L, 1);
  *r = error_reason(L, la_proc_of(L));
  return 0;
}

static void end_by_error(lua_State *L, la_proc_t *p, int status) {
  la_reason_t *r = NULL;
  if (p->heap.refused != 0) {
    p->heap.on_limit(&p->heap); /* the error says so in other words */
    return;
  }
  if (status == LUA_ERRMEM && p->error_text == NULL) {
    p->error_text = copy_text("not enough memory", 17);
  } else if (p->error_text == NULL && lua_isstring(L, -1)) {
    size_t len; /* the handler itself failed */
    const char *s = lua_tolstring(L, -1, &len);
    p->error_text = copy_text(s, len);
  }
  /* A __transfer function may raise: protected. */
  lua_pushcfunction(L, error_reason_call);
  lua_pushvalue(L, -2);
  lua_pushlightuserdata(L, &r);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    lua_pop(L, 1);
  }
  p->report = !p->ending || p->report;
  la_proc_end_itself(p, r);
}

/* ---- the body ------------------------------------------------------------------------- */

static void set_env(lua_State *L, la_start_t *s) {
  if (s->env == NULL) {
    return;
  }
  la_term_t t;
  la_msg_term(s->env, &t);
  if (!la_decode(L, &t, LA_TERM_LOCAL)) {
    lua_error(L);
  }
  lua_pushglobaltable(L);
  for (lua_pushnil(L); lua_next(L, -3) != 0;) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_settable(L, -4);
  }
  lua_pop(L, 2);
}

/* The function and its arguments, as many values as the term has elements. */
static int push_call(lua_State *L, const la_start_t *s) {
  la_term_t t;
  la_msg_term(s->term, &t);
  if (s->tmpl == NULL || s->tmpl->presets == NULL) {
    const int n = la_decode_elements(L, &t, NULL);
    return n < 0 ? lua_error(L) : n;
  }
  la_template_push(L);
  const la_ready_t ready = {lua_gettop(L), s->tmpl->presets};
  const int n = la_decode_elements(L, &t, &ready);
  if (n < 0) {
    return lua_error(L);
  }
  lua_remove(L, ready.idx);
  return n;
}

static int named_k(lua_State *L, int status, lua_KContext ctx);

/* "module.function" at index 1: require the module, then go on in named_k. */
static int require_named(lua_State *L, int n) {
  const char *name = lua_tostring(L, 1);
  const char *dot = strrchr(name, '.');
  if (dot == NULL || dot == name || dot[1] == '\0') {
    return luaL_error(L, "bad function name '%s' ('module.function' expected)",
                      name);
  }
  lua_getglobal(L, "require");
  lua_pushlstring(L, name, (size_t)(dot - name));
  lua_callk(L, 1, 1, n, named_k);
  return named_k(L, LUA_OK, n);
}

static int named_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  const char *name = lua_tostring(L, 1);
  const char *field = strrchr(name, '.') + 1;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, field);
  } else {
    lua_pushnil(L);
  }
  if (!lua_isfunction(L, -1)) {
    return luaL_error(L, "no function '%s'", name);
  }
  lua_replace(L, 1);
  lua_settop(L, (int)ctx);
  return (int)ctx;
}

/* 'arg' as in lua, and the arguments after the script as varargs. */
static int push_args(lua_State *L, const la_start_t *s) {
  lua_createtable(L, s->argc, 1);
  for (int i = 0; i < s->argc; i++) {
    lua_pushstring(L, s->argv[i]);
    lua_rawseti(L, -2, i - s->script);
  }
  lua_setglobal(L, "arg");
  int n = 0;
  luaL_checkstack(L, s->argc + 4, "too many arguments to script");
  for (int i = s->script + 1; i < s->argc; i++, n++) {
    lua_pushstring(L, s->argv[i]);
  }
  return n;
}

/* Returns the function to run and its arguments, made of p->start. */
static int prepare(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  la_start_t *s = p->start;
  int n;
  set_env(L, s);
  if (s->kind == LA_START_CALL) {
    n = push_call(L, s);
    p->start = NULL;
    la_start_free(s);
    return lua_type(L, 1) == LUA_TSTRING ? require_named(L, n) : n;
  }
  const int status =
      s->kind == LA_START_FILE
          ? luaL_loadfile(L, s->chunk)
          : luaL_loadbuffer(L, s->chunk, s->chunk_size, s->chunkname);
  if (status != LUA_OK) {
    return lua_error(L);
  }
  n = push_args(L, s);
  p->start = NULL;
  la_start_free(s);
  return n + 1;
}

static int main_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)ctx;
  if (status == LUA_OK || status == LUA_YIELD) {
    la_proc_end(p, la_reason_text("normal"));
  } else {
    end_by_error(L, p, status);
  }
  return 0;
}

static int prepared_k(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  if (status != LUA_OK && status != LUA_YIELD) {
    return main_k(L, status, 0);
  }
  const int n = lua_gettop(L) - 2; /* the handler and the function */
  return main_k(L, lua_pcallk(L, n, 0, 1, 0, main_k), 0);
}

/* ---- the last function ----------------------------------------------------------------- */

/* In the registry under the address of this: the last function. */
static const char last_key;

void la_set_last(lua_State *L, int idx) {
  lua_pushvalue(L, idx);
  la_proc_of(L)->has_last = lua_isfunction(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &last_key);
}

static int last_called_k(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 0;
}

static int last_body(lua_State *L) {
  const la_proc_t *p = la_proc_of(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &last_key);
  const la_term_t t = p->last_reason->term;
  if (!la_decode(L, &t, LA_TERM_LOCAL)) {
    return lua_error(L);
  }
  lua_callk(L, 1, 0, 0, last_called_k);
  return 0;
}

static int last_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)ctx;
  if (status != LUA_OK && status != LUA_YIELD) {
    end_by_error(L, p, status);
  } else {
    la_proc_end(p, la_reason_ref(p->last_reason));
  }
  return 0;
}

static int last_main(lua_State *L) {
  lua_pushcfunction(L, on_error);
  lua_pushcfunction(L, last_body);
  return last_k(L, lua_pcallk(L, 0, 0, 1, 0, last_k), 0);
}

void la_state_last(la_proc_t *p) {
  lua_pushcfunction(p->exec.L, last_main);
}

static int proc_main(lua_State *L) {
  lua_pushcfunction(L, on_error);
  lua_pushcfunction(L, prepare);
  return prepared_k(L, lua_pcallk(L, 0, LUA_MULTRET, 1, 0, prepared_k), 0);
}
