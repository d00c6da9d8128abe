/* io.write and file:write of one call come out whole, whatever other processes
 * write to the same stream; whoever opens a file notes that the state owns
 * something (x->has_finalizers). Also os.time, whose table may have
 * metamethods. */
#include "lib/lib_io.h"

#include "lib/lib_slow.h"

#include <errno.h>
#include <stdio.h>

/* ---- writing ----------------------------------------------------------- */

/* The open stream at 'idx'; NULL: stock finds the words for what is wrong. */
static FILE *stream_at(lua_State *L, int idx) {
  const luaL_Stream *s = luaL_testudata(L, idx, LUA_FILEHANDLE);
  return s != NULL && s->closef != NULL ? s->f : NULL;
}

static bool is_writable_text(lua_State *L, int first, int last) {
  for (int i = first; i <= last; i++) {
    int type = lua_type(L, i);
    if (type != LUA_TSTRING && type != LUA_TNUMBER) {
      return false;
    }
  }
  return true;
}

/* Numbers are written as stock does, without making strings of them: nothing
 * in here may raise while the stream is locked. */
static bool write_one(lua_State *L, int i, FILE *f) {
  if (lua_type(L, i) == LUA_TNUMBER) {
    return (lua_isinteger(L, i)
                ? fprintf(f, LUA_INTEGER_FMT,
                          (LUAI_UACINT)lua_tointeger(L, i))
                : fprintf(f, LUA_NUMBER_FMT,
                          (LUAI_UACNUMBER)lua_tonumber(L, i))) > 0;
  }
  size_t len;
  const char *s = lua_tolstring(L, i, &len);
  return fwrite(s, 1, len, f) == len;
}

/* Write the values first .. last; the file is on top of the stack. */
static int write_all(lua_State *L, FILE *f, int first, int last) {
  bool ok = true;
  flockfile(f);
  for (int i = first; i <= last; i++) {
    ok = write_one(L, i, f) && ok;
  }
  int error = errno;
  funlockfile(f);
  if (ok) {
    return 1;
  }
  errno = error;
  return luaL_fileresult(L, 0, NULL);
}

static int file_write(lua_State *L) {
  int top = lua_gettop(L);
  FILE *f = stream_at(L, 1);
  if (f == NULL || !is_writable_text(L, 2, top)) {
    return la_slow_stock(L);
  }
  lua_pushvalue(L, 1);
  return write_all(L, f, 2, top);
}

static int io_write(lua_State *L) {
  int top = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, "_IO_output");
  FILE *f = stream_at(L, -1);
  if (f == NULL || !is_writable_text(L, 1, top)) {
    lua_settop(L, top);
    return la_slow_stock(L);
  }
  return write_all(L, f, 1, top);
}

/* ---- opening ----------------------------------------------------------- */

static int open_stream(lua_State *L) {
  la_exec_of(L)->has_finalizers = true;
  return la_slow_stock(L);
}

/* These open a file only when they are given a name. */
static int open_named(lua_State *L) {
  if (lua_isstring(L, 1)) {
    la_exec_of(L)->has_finalizers = true;
  }
  return la_slow_stock(L);
}

/* ---- os.time ----------------------------------------------------------- */

/* Slots: 1 the plain copy of the date, with the user's at [1], 2 the time. */
static int written_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_settop(L, 2);
  return 1;
}

static int read_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_pushvalue(L, 1); /* stock clears the stack but for its argument */
  lua_rawseti(L, 2, 1);
  lua_replace(L, 1);
  la_slow_stock(L);
  la_slow_push(L, "write_date");
  lua_rawgeti(L, 1, 1);
  lua_pushvalue(L, 1);
  return la_slow_call(L, 2, 0, 0, written_k);
}

static int os_time(lua_State *L) {
  if (!lua_istable(L, 1) || la_slow_is_plain(L, 1)) {
    return la_slow_stock(L);
  }
  lua_settop(L, 1);
  la_slow_push(L, "read_date");
  lua_pushvalue(L, 1);
  return la_slow_call(L, 1, 1, 0, read_k);
}

void la_iolib_open(lua_State *L) {
  static const luaL_Reg io[] = {
      {"open", open_stream},   {"popen", open_stream}, {"tmpfile", open_stream},
      {"lines", open_named},   {"input", open_named},  {"output", open_named},
      {"write", io_write},     {NULL, NULL}};
  static const luaL_Reg os[] = {{"time", os_time}, {NULL, NULL}};
  static const luaL_Reg file[] = {{"write", file_write}, {NULL, NULL}};
  lua_getglobal(L, "io");
  la_slow_replace(L, io);
  lua_getglobal(L, "os");
  la_slow_replace(L, os);
  luaL_getmetatable(L, LUA_FILEHANDLE);
  lua_getfield(L, -1, "__index");
  la_slow_replace(L, file);
  lua_pop(L, 4);
}
