/* The term format: how Lua values travel (rule 5, docs/wire.md).
 *
 * Erlang's external term format with private tags (200..) that never leave the
 * host. Two users: messages between the processes of one host (trusted: may
 * hold functions, blobs, transferable objects), and actor.pack/unpack (hostile:
 * no functions, no blobs, nothing that could run code).
 *
 * An encoder writes into a growable buffer of the thread, which the caller
 * copies into its final block. Buffers are given back by la_encoder_end or,
 * after an error that jumped past it, by la_scratch_reset at the start of a
 * slice. */
#ifndef LA_TERM_H
#define LA_TERM_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "term/blob.h"
#include "term/code.h"

#define LA_TERM_MAX_DEPTH 200
#define LA_TERM_MAX_BYTES ((size_t)1 << 30)
#define LA_TERM_BLOB_MIN ((size_t)8192) /* strings from here on become blobs */

/* Encoded bytes with what they refer to. Who holds a la_term_t holds a
 * reference to each blob; 'blobs' is NULL when there are none. */
typedef struct la_term {
  const uint8_t *bytes;
  size_t size;
  la_blob_t **blobs;
  uint32_t nblobs;
} la_term_t;

typedef enum {
  LA_TERM_LOCAL = 1,  /* a message of this host: functions, blobs, objects */
  LA_TERM_PACKED = 2, /* actor.pack: starts with the version byte 131 */
} la_term_mode_t;

typedef struct la_scratch la_scratch_t; /* per thread; see encode.c */
typedef struct la_encoder la_encoder_t;

la_scratch_t *la_scratch_new(void);
void la_scratch_free(la_scratch_t *s);
/* End every encoder that an error left behind. */
void la_scratch_reset(la_scratch_t *s);
/* Keep the bytecode of functions that are sent often in 'codes'. */
void la_scratch_keep_codes(la_scratch_t *s, la_codes_t *codes);
/* Make blobs of large strings in 'blobs', and find them again there. */
void la_scratch_keep_blobs(la_scratch_t *s, la_blobs_t *blobs);
/* For tests: let the allocation after the next 'n' fail; -1: none. */
void la_scratch_fail_after(la_scratch_t *s, long n);

/* NULL when memory is short. Nested use (a __transfer function that sends)
 * gets a buffer of its own; encoders end in the reverse order, those left
 * behind by an error together with the one below. [owner] */
la_encoder_t *la_encoder_begin(la_scratch_t *s, la_term_mode_t mode);
void la_encoder_end(la_encoder_t *e);

/* Append the encoding of the value at 'idx'. On failure returns false with the
 * message pushed on L, in which 'what' names the root ("message", "argument 1",
 * "reason") and the path follows: "cannot send message.cfg.handler (C
 * function)"; an upvalue is named "upvalue 'log'". Values that were given to
 * one encoder must stay alive until it is ended: tables and upvalues shared
 * among them stay shared. A __transfer function is called, and may raise;
 * whoever holds other resources then uses lua_pcall. [owner; raises: e] */
bool la_encode(la_encoder_t *e, lua_State *L, int idx, const char *what);

/* Append a list header: 'n' encoded elements must follow, then
 * la_encode_list_end. For {a, b, ...} without a table (actor.post, calls). */
bool la_encode_list(la_encoder_t *e, uint32_t n);
bool la_encode_list_end(la_encoder_t *e);
bool la_encode_str(la_encoder_t *e, const char *s, size_t len);
bool la_encode_id(la_encoder_t *e, la_id_t id);
/* Is there a function in what has been encoded? */
bool la_encoder_has_code(const la_encoder_t *e);
bool la_encode_int(la_encoder_t *e, lua_Integer n);
bool la_encode_nil(la_encoder_t *e);
/* Splice an already encoded value (with its blobs; references are taken). The
 * value must not share tables with what surrounds it (it never does). */
bool la_encode_term(la_encoder_t *e, const la_term_t *t);

/* What has been written. Valid until the encoder is written to or ended; the
 * encoder keeps its references to the blobs. */
void la_encoder_term(const la_encoder_t *e, la_term_t *out);

/* Push the value of a term. Returns false with an error message pushed for
 * bytes that are not a well-formed term, and in mode PACKED also for anything
 * that a hostile peer must not send. Never recurses deeper than
 * LA_TERM_MAX_DEPTH, never allocates more than the bytes justify. LOCAL terms
 * may call require and a module's receive function (__transfer). [owner;
 * raises: e] */
bool la_decode(lua_State *L, const la_term_t *t, la_term_mode_t mode);

/* Push the value of the subterm at bytes[offset] (of a well-formed LOCAL term
 * made by this host), keeping identity with other tables of the term where it
 * is shared. Used for captures. [owner; raises: e] */
bool la_decode_at(lua_State *L, const la_term_t *t, size_t offset);

/* A capture: offset of a subterm; of a rest capture the offset of its first
 * element and their number, which become a table. */
typedef struct la_span {
  uint32_t at;
  uint32_t count;
  bool is_rest;
} la_span_t;

/* Push the values of 'n' subterms, keeping identity among them. Otherwise as
 * la_decode_at. [owner; raises: e] */
bool la_decode_spans(lua_State *L, const la_term_t *t, const la_span_t *spans,
                     uint32_t n);

/* A function on the stack which is that of a term, made earlier: the value of an
 * upvalue whose encoding is the same as then need not be made again. The bytes
 * must hold no references, blobs or tables. size 0: make it. */
typedef struct la_preset {
  const uint8_t *bytes;
  size_t size;
} la_preset_t;

typedef struct la_ready {
  int idx;
  const la_preset_t *presets; /* of each upvalue */
} la_ready_t;

/* Push all elements of a list of this host; returns their number, or -1 with
 * an error message pushed. 'ready' stands for the function that
 * the list begins with, or is NULL. [owner; raises: e] */
int la_decode_elements(lua_State *L, const la_term_t *t,
                       const la_ready_t *ready);
/* Push a plain scalar of a well-formed term; NULL, and nothing pushed, for any
 * other. Needs one stack slot. [owner; raises: m] */
const uint8_t *la_decode_scalar(lua_State *L, const uint8_t *p);

/* The byte behind the subterm at 'p', or NULL when it is malformed. */
const uint8_t *la_term_skip(const uint8_t *p, const uint8_t *end);

/* Structural equality of two subterms as Lua's == would say: 1 equals 1.0,
 * tables by content whatever the order of their keys. */
bool la_term_equal(const la_term_t *a, size_t a_at, const la_term_t *b,
                   size_t b_at);

/* A 32-bit hash of the leading tag: of a message that is a string (or atom), id
 * or boolean, or of the first element of a sequence that begins with one. 0
 * when there is no such tag. Equal values have equal hashes; numbers have none
 * (1 == 1.0). */
uint32_t la_term_tag(const uint8_t *bytes, size_t size);

/* The identity that a sequence begins with; LA_NO_ID when it does not begin
 * with one. */
la_id_t la_term_first_id(const la_term_t *t);

/* Compare with the text of a string or atom term ("normal", "kill"). */
bool la_term_is_text(const la_term_t *t, const char *text);

/* ---- text for reports (term/print.c) ------------------------------------- */

/* How a term is printed. */
typedef struct la_print {
  bool json;
  int depth;           /* tables below are shown as {...} */
  const char *secrets; /* words in lower case, a line feed behind each: the values
                        * of keys that hold one are not shown. NULL: none */
} la_print_t;

extern const char la_print_secrets[]; /* the words without further settings */

/* What JSON text may go past its bound with, to close what is open. */
#define LA_PRINT_SLACK ((size_t)8192)

/* One line of at most 'max' bytes for reports: {'error', 'x', 3, <0.12>}.
 * Returns the length. Never fails; bounded in depth and elements. JSON is
 * well-formed when 'max' exceeds LA_PRINT_SLACK; it is cut at what is left. */
size_t la_term_print_as(const la_term_t *t, const la_print_t *how, char *out,
                        size_t max);
size_t la_term_print(const la_term_t *t, char *out, size_t max);
/* A JSON string of the first 'limit' bytes of a text. Needs up to 6 bytes of
 * 'out' for each, and 5. */
size_t la_print_json_text(const char *s, size_t len, size_t limit, char *out,
                          size_t max);
/* Does a key hold one of the words, in whatever case? */
bool la_print_is_secret(const char *words, const char *key, size_t len);

/* A pair of a table whose key is a text. */
typedef struct la_field {
  const char *key;
  size_t len;
  const uint8_t *value; /* a term inside the table's; not moved */
  size_t size;
} la_field_t;

/* Up to 'max' (and 40) such pairs, ordered by key. Returns how many. */
uint32_t la_term_fields(const la_term_t *t, la_field_t *out, uint32_t max);

/* ---- the state's codec (term/shape.c) ------------------------------------ */

/* Give the state what the codec keeps in it, once. 'direct': tables may be looked at
 * in Lua's memory, because la_layout_check (term/layout.h) has found that to
 * be right. Without, and without this call, all goes through Lua's API.
 * [owner; raises: m] */
void la_codec_open(lua_State *L, bool direct);
/* Instead of that call: who needs the codec looks for this field of the registry, whose
 * __index may make one (la_codec_make, a C function that returns it). */
#define LA_CODEC_NAME "luactor.codec"
int la_codec_make(lua_State *L);

/* ---- objects of luactor (term/carry.c) ---------------------------------- */

/* Push a new metatable registered under 'name' (less than 256 bytes) whose
 * userdata travel in LOCAL terms: they must consist of bytes that mean the
 * same in every state (no pointers) and of user values. [owner; raises: m] */
void la_object_open(lua_State *L, const char *name);
/* Tables and userdata with the metatable on top travel as the field 'field' of
 * module luactor. [owner; raises: m] */
void la_object_named(lua_State *L, const char *field);

/* Scripts get the userdata with the metatable on top as functions: closures of
 * 'f' whose first upvalue the userdata is. They travel as it does. [owner;
 * raises: m] */
void la_object_wrap(lua_State *L, lua_CFunction f);
/* The function of la_object_wrap, of the metatable at 'idx', or NULL. Uses a
 * stack slot. [owner; raises: -] */
lua_CFunction la_object_wrapper(lua_State *L, int idx);
/* Push the userdata of such a closure at 'idx'; false and nothing pushed when it
 * is none. Uses three stack slots. [owner; raises: -] */
bool la_object_unwrap(lua_State *L, int idx);

/* ---- identities as Lua values (term/ident.c) ---------------------------- */

/* Give light userdata a metatable with __tostring, once per state. A caller
 * may add to it (lua_getmetatable of any identity). [owner; raises: m] */
void la_ident_open(lua_State *L);
/* Push an identity (light userdata). */
void la_push_id(lua_State *L, la_id_t id);
/* The identity at idx, or LA_NO_ID when it is something else. */
la_id_t la_to_id(lua_State *L, int idx);
/* "<0.12>" and the like into buf (at least 48 bytes); returns its length. */
size_t la_id_print(la_id_t id, char *buf);
/* Parse what la_id_print wrote; LA_NO_ID when it is not one. */
la_id_t la_id_parse(const char *text, size_t len);

#endif
