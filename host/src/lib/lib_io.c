/* io.write and file:write of one call come out whole, whatever other processes
 * write to the same stream; whoever opens a file notes that the state owns
 * something (x->has_finalizers). Also os.time, whose table may have
 * metamethods. */
#include "lib/lib_io.h"

#include "lib/lib_slow.h"

#include <errno.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

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
    return la_slow_stock(L, LA_STOCK_FILE_WRITE);
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
    return la_slow_stock(L, LA_STOCK_IO_WRITE);
  }
  return write_all(L, f, 1, top);
}

/* ---- opening ----------------------------------------------------------- */

/* luaL_Stream.closef of files that are counted, which do as stock's. */
static int close_file(lua_State *L) {
  luaL_Stream *s = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  la_exec_t *x = la_exec_of(L);
  const int ok = fclose(s->f) == 0;
  x->handle(x, false);
  return luaL_fileresult(L, ok, NULL);
}

static int close_pipe(lua_State *L) {
  luaL_Stream *s = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  la_exec_t *x = la_exec_of(L);
  const int status = pclose(s->f);
  x->handle(x, false);
  return luaL_execresult(L, status);
}

static const char too_many[] = "too many open handles";

static int refuse(lua_State *L, bool raises) {
  if (raises) {
    return luaL_error(L, "%s", too_many);
  }
  luaL_pushfail(L);
  lua_pushstring(L, too_many);
  lua_pushinteger(L, EMFILE);
  return 3;
}

/* Is there room for one more, as far as one can say before it is open? */
static bool has_room(la_exec_t *x) {
  return x->handle == NULL || (x->handle(x, true) && x->handle(x, false));
}

/* Stock has opened a file, at 'idx': count it. */
static bool count(lua_State *L, int idx, bool is_pipe) {
  la_exec_t *x = la_exec_of(L);
  luaL_Stream *s = luaL_testudata(L, idx, LUA_FILEHANDLE);
  if (x->handle == NULL || s == NULL || s->closef == NULL) {
    return true;
  }
  if (x->handle(x, true)) {
    s->closef = is_pipe ? close_pipe : close_file;
    return true;
  }
  s->closef = NULL;
  if (is_pipe) {
    pclose(s->f);
  } else {
    fclose(s->f);
  }
  return false;
}

static int opening(lua_State *L, la_stock_t stock) {
  la_exec_t *x = la_exec_of(L);
  x->has_finalizers = true;
  if (!has_room(x)) {
    return refuse(L, false);
  }
  const int n = la_slow_stock(L, stock);
  return count(L, -n, stock == LA_STOCK_IO_POPEN) ? n : refuse(L, false);
}

static int io_open(lua_State *L) {
  return opening(L, LA_STOCK_IO_OPEN);
}

static int io_popen(lua_State *L) {
  return opening(L, LA_STOCK_IO_POPEN);
}

static int io_tmpfile(lua_State *L) {
  return opening(L, LA_STOCK_IO_TMPFILE);
}

/* These open a file only when they are given a name; it is the last result. */
static int opening_named(lua_State *L, la_stock_t stock) {
  if (!lua_isstring(L, 1)) {
    return la_slow_stock(L, stock);
  }
  la_exec_t *x = la_exec_of(L);
  x->has_finalizers = true;
  if (!has_room(x)) {
    return refuse(L, true);
  }
  const int n = la_slow_stock(L, stock);
  return count(L, -1, false) ? n : refuse(L, true);
}

static int io_lines(lua_State *L) {
  return opening_named(L, LA_STOCK_IO_LINES);
}

static int io_input(lua_State *L) {
  return opening_named(L, LA_STOCK_IO_INPUT);
}

static int io_output(lua_State *L) {
  return opening_named(L, LA_STOCK_IO_OUTPUT);
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
  la_slow_stock(L, LA_STOCK_TIME);
  la_slow_push(L, "write_date");
  lua_rawgeti(L, 1, 1);
  lua_pushvalue(L, 1);
  return la_slow_call(L, 2, 0, 0, written_k);
}

static int os_time(lua_State *L) {
  if (!lua_istable(L, 1) || la_slow_is_plain(L, 1)) {
    return la_slow_stock(L, LA_STOCK_TIME);
  }
  lua_settop(L, 1);
  la_slow_push(L, "read_date");
  lua_pushvalue(L, 1);
  return la_slow_call(L, 1, 1, 0, read_k);
}

/* ---- the type of files, the standard files --------------------------------- */

static const char *const standard[] = {"stdin", "stdout", "stderr"};

/* Is io[name] to be set: nobody has had it, or it is a file that was left there when
 * open_files failed half way, and whose metatable is forgotten? The table of io is at
 * 2. */
static bool is_missing(lua_State *L, const char *name) {
  if (la_lazy_is_pending(L, LA_TABLE_IO, name)) {
    return true;
  }
  lua_pushstring(L, name);
  const bool is_file = lua_rawget(L, 2) == LUA_TUSERDATA &&
                       luaL_getmetafield(L, -1, "__name") == LUA_TSTRING &&
                       strcmp(lua_tostring(L, -1), LUA_FILEHANDLE) == 0;
  lua_settop(L, 3);
  return is_file;
}

/* Stock makes all of it at once. Returns the metatable of files. */
static int open_files(lua_State *L) {
  lua_settop(L, 0);
  lua_pushcfunction(L, luaopen_io);
  lua_call(L, 0, 1);
  la_lazy_push(L, LA_TABLE_IO);
  luaL_getmetatable(L, LUA_FILEHANDLE);
  for (int i = 0; i < 3; i++) {
    if (is_missing(L, standard[i])) {
      lua_getfield(L, 1, standard[i]);
      lua_setfield(L, 2, standard[i]);
    }
  }
  lua_getfield(L, -1, "__index");
  lua_pushcfunction(L, file_write);
  lua_setfield(L, -2, "write");
  lua_pop(L, 1);
  return 1;
}

static int make_type(lua_State *L) {
  la_lazy_make(L, LA_TABLE_REGISTRY, open_files);
  return 1;
}

/* A default file: it was put in its place when the type was made. */
static int make_default(lua_State *L) {
  luaL_getmetatable(L, LUA_FILEHANDLE);
  lua_pushvalue(L, 1);
  lua_rawget(L, LUA_REGISTRYINDEX);
  return 1;
}

static int make_standard(lua_State *L) {
  luaL_getmetatable(L, LUA_FILEHANDLE);
  la_lazy_push(L, LA_TABLE_IO);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  return 1;
}

static const luaL_Reg io[] = {
    {"open", io_open},   {"popen", io_popen}, {"tmpfile", io_tmpfile},
    {"lines", io_lines}, {"input", io_input}, {"output", io_output},
    {"write", io_write}, {NULL, NULL}};
static const luaL_Reg standard_files[] = {{"stdin", make_standard},
                                          {"stdout", make_standard},
                                          {"stderr", make_standard},
                                          {NULL, NULL}};
static const luaL_Reg registry[] = {{LUA_FILEHANDLE, make_type},
                                    {"_IO_input", make_default},
                                    {"_IO_output", make_default},
                                    {NULL, NULL}};
static const luaL_Reg os[] = {{"time", os_time}, {NULL, NULL}};
const la_std_part_t la_iolib_parts[] = {{LA_TABLE_IO, io, false},
                                        {LA_TABLE_IO, standard_files, true},
                                        {LA_TABLE_REGISTRY, registry, true},
                                        {LA_TABLE_OS, os, false},
                                        {0, NULL, false}};
