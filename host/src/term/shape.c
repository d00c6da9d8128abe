/* Shapes of maps (see shape.h).
 *
 * A MAP is recognised by a hash of its number of pairs and its first key; each
 * hash has one slot. The second MAP of a hash makes the shape: a table with
 * its keys, and a copy of their terms to compare with. While reading, each key
 * is compared; one that differs ends the use of the shape for this MAP (the
 * table made so far stays as it is: Lua allows keys without values). Tables
 * that are no records but collections have other keys each time. So hits earn
 * credit, failures use it up, and a slot that ran out of credit
 * needs twice as many MAPs as before to try again.
 *
 * The shape's table and its block are anchored in a table that is the codec's
 * user value. Its strings live as long, so pointers to them may be copied into
 * new tables. */
#include "term/shape.h"

#include <lauxlib.h>
#include <string.h>

#include "term/tag.h"

enum {
  FIRST_NEED = 2,
  MOST_NEED = 1 << 20,
  FIRST_CREDIT = 4,
  MOST_CREDIT = 64,
};

/* Its address is the codec's key in the registry. */
static const char codec_key;

void la_codec_open(lua_State *L, bool direct) {
  if (direct) {
    la_codec_t *c = lua_newuserdatauv(L, sizeof *c, 1);
    memset(c, 0, sizeof *c);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &codec_key);
  }
}

la_codec_t *la_codec_of(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_key) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LA_CODEC_NAME);
  }
  la_codec_t *c = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return c;
}

int la_codec_make(lua_State *L) {
  la_codec_open(L, true);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_key);
  return 1;
}

la_shape_slot_t *la_shape_slot(la_codec_t *c, const uint8_t *p,
                               const uint8_t *end, uint32_t n) {
  if (n < LA_SHAPE_MIN || n > LA_SHAPE_MAX || end - p < 5 ||
      *p != LA_TAG_BINARY) {
    return NULL;
  }
  const size_t len = la_get32(p + 1);
  uint64_t h = (uint64_t)n << 32 | len;
  for (size_t i = 0; i < len && i < 16; i++) {
    h = (h ^ p[5 + i]) * UINT64_C(0x100000001b3);
  }
  h = (h ^ h >> 29) * UINT64_C(0x9E3779B97F4A7C15);
  h |= 1;
  la_shape_slot_t *slot = &c->slot[h >> 60];
  if (slot->hash == h) {
    return slot;
  }
  if (slot->shape != NULL && slot->credit > 0) {
    slot->credit--;
    return NULL;
  }
  *slot = (la_shape_slot_t){.hash = h, .need = FIRST_NEED};
  return slot;
}

void la_shape_fitted(la_shape_slot_t *slot) {
  if (slot->credit < MOST_CREDIT) {
    slot->credit++;
  }
}

void la_shape_failed(la_shape_slot_t *slot, const la_shape_t *shape) {
  if (slot->shape != shape) {
    return;
  }
  if (slot->credit > 0) {
    slot->credit--;
    return;
  }
  slot->shape = NULL;
  slot->seen = 0;
  if (slot->need < MOST_NEED) {
    slot->need *= 2;
  }
}

/* The bytes of the keys of 'n' pairs at 'p'; 0 when they are not all strings
 * that Lua keeps once. */
static size_t key_bytes(const uint8_t *p, uint32_t n) {
  size_t size = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (*p != LA_TAG_BINARY || la_get32(p + 1) > LA_SHORTSTR_MAX) {
      return 0;
    }
    size += (size_t)5 + la_get32(p + 1);
    p = la_skip(la_skip(p));
  }
  return size;
}

/* Fill the table on top with the keys of the pairs at 'p', and 'keys' with
 * their terms. */
static void fill(lua_State *L, uint8_t *keys, const uint8_t *p, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t len = la_get32(p + 1);
    memcpy(keys, p, (size_t)5 + len);
    keys += (size_t)5 + len;
    lua_pushlstring(L, (const char *)p + 5, len);
    lua_pushinteger(L, i);
    lua_rawset(L, -3);
    p = la_skip(p + 5 + len);
  }
}

/* Find the nodes of the keys. False when there are not 'n': a key twice. */
static bool locate(la_shape_t *s) {
  uint32_t found = 0;
  if (s->table->last_free == NULL) {
    return false;
  }
  for (uint32_t i = 0; i < la_node_count(s->table); i++) {
    const la_lnode_t *node = &s->table->node[i];
    if (!la_is_empty(node->tt)) {
      s->node[node->v.i] = (uint16_t)i;
      found++;
    }
  }
  return found == s->n;
}

void la_codec_push_anchors(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_key);
  lua_getiuservalue(L, -1, 1);
  lua_replace(L, -2);
}

int la_shape_anchor(const la_codec_t *c, const la_shape_slot_t *slot) {
  return 1 + 2 * (int)(slot - c->slot);
}

void la_codec_need_anchors(lua_State *L, la_codec_t *c) {
  if (!c->has_anchors) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_key);
    lua_createtable(L, LA_ANCHOR_BOXES, 0);
    lua_setiuservalue(L, -2, 1);
    lua_pop(L, 1);
    c->has_anchors = true;
  }
}

void la_shape_learn(lua_State *L, la_codec_t *c, la_shape_slot_t *slot,
                    const uint8_t *p, uint32_t n) {
  if (++slot->seen < slot->need) {
    return;
  }
  slot->seen = 0;
  const size_t size = key_bytes(p, n);
  if (size == 0) {
    la_shape_failed(slot, NULL);
    return;
  }
  luaL_checkstack(L, 12, NULL);
  const int at = la_shape_anchor(c, slot);
  la_codec_need_anchors(L, c);
  la_codec_push_anchors(L);
  la_shape_t *s =
      lua_newuserdatauv(L, sizeof *s + n * sizeof s->node[0] + size, 0);
  lua_createtable(L, 0, (int)n);
  s->n = n;
  s->table = la_ltable_at(L, -1);
  s->keys = (uint8_t *)(s->node + n);
  fill(L, s->keys, p, n);
  s->log_nodes = s->table->log_nodes;
  if (!locate(s)) {
    lua_pop(L, 3);
    la_shape_failed(slot, NULL);
    return;
  }
  slot->shape = NULL; /* its anchors are about to be replaced */
  lua_rawseti(L, -3, at + 1);
  lua_rawseti(L, -2, at);
  lua_pop(L, 1);
  slot->shape = s;
  slot->credit = FIRST_CREDIT;
}
