/* Lazy tables: tables of a library that a process pays for when it touches them.
 *
 * A lazy table begins empty. It has a metatable that no script can see, whose
 * __index finds the name of a field in a plan, a constant list in C, and puts the
 * value into the table: the next access is an ordinary one. A table that nobody
 * has touched does not exist at all; it is a field of another one that does not
 * exist yet either.
 *
 * Scripts must not notice. So a field can be had once: whether it was
 * taken (or overwritten, or set to nil) is kept in a bit of the state, not in the
 * table, and a field that was taken belongs to the script. And whoever looks
 * at the whole table or at its metatable - next, pairs, setmetatable,
 * C modules, a debugger - has it *settled* first: all fields put in, the metatable
 * removed, an ordinary table from then on. lib/lib_raw.c has our versions of
 * those functions.
 *
 * The registry is lazy, too, so that stock functions which look something up
 * there (FILE*, _LOADED) find it; so is package.loaded. A library that exists is
 * always a raw field of package.loaded, if that exists, as tracebacks and
 * the encoder walk through it. */
#ifndef LA_LAZY_H
#define LA_LAZY_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  LA_LAZY_FUNCTION, /* a light C function */
  LA_LAZY_INTEGER,
  LA_LAZY_NUMBER,
  LA_LAZY_STRING,
  LA_LAZY_TABLE, /* another table of the plan */
  LA_LAZY_MADE   /* what a C function returns that is given the name */
} la_lazy_kind_t;

typedef struct la_lazy_field {
  const char *name; /* no zeros in it */
  la_lazy_kind_t kind;
  union {
    lua_CFunction function; /* also MADE */
    lua_Integer integer;
    lua_Number number;
    struct {
      const char *text;
      size_t len;
    } string;
    unsigned table;
  } as;
} la_lazy_field_t;

typedef struct la_lazy_table {
  const char *name;              /* in package.loaded */
  const la_lazy_field_t *fields; /* sorted by name */
  uint32_t nfields;
  uint32_t first; /* the number of its first field among all fields */
  lua_CFunction open; /* not lazy: returns the whole table, without fields */
} la_lazy_table_t;

/* The first tables of every plan; libraries follow. */
enum {
  LA_LAZY_REGISTRY,
  LA_LAZY_GLOBALS,
  LA_LAZY_LOADED, /* package.loaded */
  LA_LAZY_LIBRARY
};

enum { LA_LAZY_FIELDS = 320 }; /* at most, in all tables together */

/* Constant while a state uses it. */
typedef struct la_lazy_plan {
  const la_lazy_table_t *tables;
  unsigned ntables;
} la_lazy_plan_t;

/* What a state knows of its lazy tables. The extra space of the state points to a
 * structure that begins with a pointer to this. All zeroes: none. */
typedef struct la_lazy {
  const la_lazy_plan_t *plan;
  const void *meta; /* their metatable; NULL: see la_lazy_meta */
  bool settled;    /* la_lazy_settle_all has been called: so are new tables */
  uint32_t misses; /* calls of the metamethods that found nothing */
  uint64_t taken[LA_LAZY_FIELDS / 64];
  const uint64_t *gone; /* of a state with fewer rights: fields that it never has, a
                         * bit each; NULL: of one that has all */
  bool (*may_have)(lua_State *L, const char *name, size_t len); /* with 'gone': may a
                         * module of this name be had? [owner; raises: -] */
} la_lazy_t;

/* Make the registry and the globals of a new state lazy. [owner; raises: m] */
void la_lazy_open(lua_State *L, const la_lazy_plan_t *plan);

/* Before any of its code runs, take fields and modules away from a state.
 * [owner; raises: -] */
void la_lazy_shut(lua_State *L, const uint64_t *gone,
                  bool (*may_have)(lua_State *, const char *, size_t));
/* Has that been done? Of any state. [owner; raises: -] */
bool la_lazy_is_shut(lua_State *L);
/* May the module be had? [owner; raises: -] */
bool la_lazy_may_have(lua_State *L, const char *name, size_t len);
/* The number of the field, or -1. [any] */
int la_lazy_field_number(const la_lazy_plan_t *plan, unsigned n,
                         const char *name);

/* Push table 'n' of the plan, made if it does not exist. [owner; raises: m] */
void la_lazy_push(lua_State *L, unsigned n);
/* Does table 'n' exist already? [owner; raises: -] */
bool la_lazy_exists(lua_State *L, unsigned n);
/* Push a new ordinary table with all fields of table 'n', as if it were opened once
 * more. [owner; raises: e] */
void la_lazy_push_copy(lua_State *L, unsigned n);
/* Is the field one that nobody has had yet? [owner; raises: -] */
bool la_lazy_is_pending(lua_State *L, unsigned n, const char *name);

/* For a function that makes a value and on the way looks for the very field: call 'f',
 * which gets the name at index 1 and returns the value, with the field marked as
 * taken. Pushes the value. [owner; raises: e] */
void la_lazy_make(lua_State *L, unsigned n, lua_CFunction f);

/* Push the library 'name' and return true, if package.loaded does not exist so that
 * nobody can have changed what is in there; the state may be one without
 * lazy tables. [owner; raises: m] */
bool la_lazy_push_library(lua_State *L, const char *name, size_t len);

/* Is the value at 'idx' a table that is lazy still? Of any state.
 * [owner; raises: -] */
bool la_lazy_is(lua_State *L, int idx);
/* The metatable of lazy tables, in a state that has some. [owner; raises: -] */
const void *la_lazy_meta(lua_State *L);
/* If so, fill it, make it an ordinary one (unless it is the registry) and return
 * true. [owner; raises: m] */
bool la_lazy_settle(lua_State *L, int idx);
/* All tables that exist, and those reached from the globals, become as they would
 * be in a stock state; those that come to exist later, too. [owner; raises: m] */
void la_lazy_settle_all(lua_State *L);

#endif
