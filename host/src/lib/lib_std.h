/* The standard library as processes see it: stock Lua's, with every function
 * replaced that could keep a scheduler from getting its thread back, in tables
 * that are filled on demand (mem/lazy.h). */
#ifndef LA_LIB_STD_H
#define LA_LIB_STD_H

#include <lauxlib.h>
#include <lua.h>

#include "mem/lazy.h"

/* The tables of the plan. */
enum {
  LA_TABLE_REGISTRY = LA_LAZY_REGISTRY,
  LA_TABLE_GLOBALS = LA_LAZY_GLOBALS,
  LA_TABLE_LOADED = LA_LAZY_LOADED,
  LA_TABLE_COROUTINE = LA_LAZY_LIBRARY,
  LA_TABLE_DEBUG,
  LA_TABLE_IO,
  LA_TABLE_MATH,
  LA_TABLE_OS,
  LA_TABLE_PACKAGE, /* the only one that is not lazy */
  LA_TABLE_STRING,
  LA_TABLE_TABLE,
  LA_TABLE_UTF8,
  LA_TABLE_LUACTOR, /* require "luactor" */
  LA_NTABLES,
  /* Not in the plan, but in the list of stock functions below. */
  LA_TABLE_STRING_META,
  LA_TABLE_FILE_METHODS
};

/* Stock functions which ours call. X(symbol, table, name) */
#define LA_STOCK_FUNCTIONS(X)                      \
  X(COLLECTGARBAGE, GLOBALS, "collectgarbage")     \
  X(LOAD, GLOBALS, "load")                         \
  X(TYPE, GLOBALS, "type")                         \
  X(GETINFO, DEBUG, "getinfo")                     \
  X(IO_INPUT, IO, "input")                         \
  X(IO_LINES, IO, "lines")                         \
  X(IO_OPEN, IO, "open")                           \
  X(IO_OUTPUT, IO, "output")                       \
  X(IO_POPEN, IO, "popen")                         \
  X(IO_TMPFILE, IO, "tmpfile")                     \
  X(IO_WRITE, IO, "write")                         \
  X(FILE_WRITE, FILE_METHODS, "write")             \
  X(RANDOM, MATH, "random")                        \
  X(RANDOMSEED, MATH, "randomseed")                \
  X(MATH_TYPE, MATH, "type")                       \
  X(TIME, OS, "time")                              \
  X(LOADLIB, PACKAGE, "loadlib")                   \
  X(FORMAT, STRING, "format")                      \
  X(REP, STRING, "rep")                            \
  X(ADD, STRING_META, "__add")                     \
  X(SUB, STRING_META, "__sub")                     \
  X(MUL, STRING_META, "__mul")                     \
  X(MOD, STRING_META, "__mod")                     \
  X(POW, STRING_META, "__pow")                     \
  X(DIV, STRING_META, "__div")                     \
  X(IDIV, STRING_META, "__idiv")                   \
  X(UNM, STRING_META, "__unm")                     \
  X(CONCAT, TABLE, "concat")                       \
  X(INSERT, TABLE, "insert")                       \
  X(REMOVE, TABLE, "remove")                       \
  X(UNPACK, TABLE, "unpack")

typedef enum {
#define X(sym, table, name) LA_STOCK_##sym,
  LA_STOCK_FUNCTIONS(X)
#undef X
  LA_NSTOCK
} la_stock_t;

/* Fields of one table: they take the place of stock's of the same name, or are added. */
typedef struct la_std_part {
  unsigned table;
  const luaL_Reg *functions;
  bool are_makers; /* the functions return the value of the field; they are
                    * called with its name (LA_LAZY_MADE) */
} la_std_part_t;

/* Constant, and for all states of a host. */
typedef struct la_std {
  la_lazy_plan_t plan; /* first: what la_lazy_t points to */
  lua_CFunction stock[LA_NSTOCK];
  size_t random_size; /* bytes of the state of math.random */
  la_lazy_table_t tables[LA_NTABLES];
  la_lazy_field_t fields[LA_LAZY_FIELDS];
  uint32_t nfields;
  char texts[8192]; /* names and strings */
  size_t ntexts;
} la_std_t;

/* Find out what there is. 'parts': lists, each ended by a part without
 * functions, that come after the library's own; ended by NULL. 'open_package'
 * makes the table of package, usually la_load_open_package. NULL: memory. [any] */
la_std_t *la_std_new(const la_std_part_t *const *parts,
                     lua_CFunction open_package);
void la_std_free(la_std_t *std);

/* Open the library in a new state, whose extra space is set (la_exec_init). 'std'
 * must outlive the state. [owner; raises: m] */
void la_std_open(lua_State *L, const la_std_t *std);

/* Of a state that la_std_open has opened. */
const la_std_t *la_std_of(lua_State *L);

/* Push 'name', random or randomseed, and put the other one into the library of a
 * state where neither was there; with the seed given, or stock's if NULL.
 * [owner; raises: e] */
void la_std_push_random(lua_State *L, const char *name,
                        const uint64_t seed[2]);
/* The bytes these functions work on; NULL: there are none yet.
 * [owner; raises: -] */
void *la_std_random(lua_State *L, size_t *size);

#endif
