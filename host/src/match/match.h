/* Receive patterns: Lua pattern values -> a small program -> a verdict on the
 * encoded message, without making a Lua value of it (rule 6).
 *
 * Lua side (lib/lib_match.c): actor.var, actor.is, actor.exact, actor.oneof,
 * actor.match, actor.request, actor.on, actor.after, actor.receiver make
 * userdata of one of the types below; a pattern argument may also be any plain
 * Lua value. A second stage, on the decoded captures only, serves LPeg patterns
 * and Lua function guards. */
#ifndef LA_MATCH_H
#define LA_MATCH_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "term/term.h"

/* Names a script can bind in one pattern. */
#define LA_MATCH_MAX_CAPS 64

/* A capture: offset of the subterm in the message; for a rest capture
 * (V.args "...") the offset of its first element and their number. */
typedef la_span_t la_cap_t;

typedef struct la_caps {
  uint32_t n;
  la_cap_t cap[LA_MATCH_MAX_CAPS];
} la_caps_t;

/* Compiled clauses, in order. Lives in a full userdata (a receiver or a clause
 * list of one receive call), which anchors handlers, guards and LPeg
 * patterns. */
typedef struct la_matcher la_matcher_t;

/* The message as the matcher sees it. */
typedef struct la_msgview {
  la_term_t term;
  uint32_t tag; /* la_term_tag, computed once by the sender */
} la_msgview_t;

/* Build a matcher from the arguments first..last of a C function: one pattern,
 * or clauses made by on/after/mb:on. Pushes the matcher's userdata (a receiver
 * argument is pushed as it is). Raises a Lua error that names what is wrong and
 * where. [owner; raises: e] */
la_matcher_t *la_matcher_make(lua_State *L, int first, int last);

/* The same as a receiver: with LA_RECEIVER_MT, and never an argument itself
 * unless that is one. [owner; raises: e] */
void la_receiver_make(lua_State *L, int first, int last);

/* A pattern alone, the one at 'idx', as a matcher in 'buf', aligned to 8, without
 * a userdata. 'direct': Lua's memory may be looked at. Returns the bytes it takes; when they are more than 'size' nothing
 * was written. 0: the value is a clause or a receiver, or its matcher would
 * have to hold Lua values. [owner; raises: e] */
size_t la_matcher_write(lua_State *L, int idx, void *buf, size_t size,
                        bool direct);

uint32_t la_matcher_clauses(const la_matcher_t *m);
/* Mailboxes that the clauses name, in order of first appearance: an MBOX id, or
 * LA_NO_ID for the process's own. At least one unless there is only an
 * 'after'. */
uint32_t la_matcher_mailboxes(const la_matcher_t *m);
la_id_t la_matcher_mailbox(const la_matcher_t *m, uint32_t i);
/* The timeout of an 'after' clause in milliseconds, or a negative number. */
double la_matcher_after(const la_matcher_t *m);
/* A reference that every clause (of the process's own mailbox) demands as the
 * value or the first element, so that messages older than it cannot match; or
 * LA_NO_ID. */
la_id_t la_matcher_fresh_ref(const la_matcher_t *m);

/* The tags (la_term_tag), each once, that the clauses of mailbox 'box' demand;
 * returns how many. 0: some clause accepts messages of any tag, or there are more
 * than 'most'. [any] */
uint32_t la_matcher_tags(const la_matcher_t *m, la_id_t box, uint32_t *tags,
                         uint32_t most);

/* First stage. The first clause >= 'from' of mailbox 'box' (as in
 * la_matcher_mailbox) that accepts the message on its bytes; fills
 * 'caps'. Returns -1 when there is none. Runs no Lua. [any; raises: -] */
int la_matcher_try(const la_matcher_t *m, const la_msgview_t *msg,
                   la_id_t box, int from, la_caps_t *caps);

/* Does clause 'c' need a second stage (LPeg pattern, Lua function guard)? */
bool la_matcher_needs_lua(const la_matcher_t *m, int c);

/* Push what the clause's captures are: the captured values in order of first
 * appearance, or the whole message when there are none. LPeg patterns run here
 * and add their captures. Returns the number of values, or -1 (nothing pushed)
 * when an LPeg pattern does not match. 'ud' is the stack index of the matcher's
 * userdata. [owner; raises: e] */
int la_matcher_push(lua_State *L, int ud, const la_matcher_t *m, int c,
                    const la_msgview_t *msg, const la_caps_t *caps);

/* Push the Lua function guard of the clause; false and nothing pushed when it
 * has none. */
bool la_matcher_push_guard(lua_State *L, int ud, const la_matcher_t *m, int c);
/* Push the handler (c == -1: of the 'after' clause); false when there is none
 * (receive(p): the captures are the result). */
bool la_matcher_push_handler(lua_State *L, int ud, const la_matcher_t *m,
                             int c);

/* For a state without lazy tables: adds var, _, is, exact, oneof, match, request,
 * on, after to the table on top of the stack and registers the metatables that
 * la_encode and la_decode need to rebuild such objects. [owner; raises: m] */
void la_match_open(lua_State *L);
/* A C function: the argument is the registry name of one of those metatables;
 * makes it and returns it. */
int la_match_open_type(lua_State *L);
/* Push a pattern that matches anything. [owner; raises: m] */
void la_match_push_any(lua_State *L);
/* The registry names of the metatables of receivers and of clauses. */
#define LA_RECEIVER_MT "luactor.receiver"
#define LA_CLAUSE_MT "luactor.clause"
/* mb:on(...): push a clause for mailbox 'box' from the arguments at
 * first..last. */
void la_match_push_clause(lua_State *L, la_id_t box, int first, int last);

#endif
