/* See bigstr.h.
 *
 * A string must not be kept longer than the program keeps it, so what refers
 * to it from here is weak. Strings cannot be referred to weakly in Lua, tables
 * can: each string is in a table of its own, its box, and the boxes are in a
 * table with weak values. Nothing else holds a box, so the next collection
 * takes it away; until then it proves that the string at 's' is still the one
 * it was.
 *
 * The string is put into its box by address, since the encoder may have met it
 * somewhere inside of a table. It is alive, and the box is new: rule 3 of
 * term/layout.h. */
#include "term/bigstr.h"

#include "term/shape.h"

/* Push the string of entry 'i' if it is still there. */
static bool push_entry(lua_State *L, const la_codec_t *c, int i) {
  const int top = lua_gettop(L);
  if (c->has_boxes) {
    la_codec_push_anchors(L);
    lua_rawgeti(L, -1, LA_ANCHOR_BOXES);
    if (lua_rawgeti(L, -1, i + 1) == LUA_TTABLE) {
      lua_rawgeti(L, -1, 1);
      lua_replace(L, top + 1);
      lua_settop(L, top + 1);
      return true;
    }
  }
  lua_settop(L, top);
  return false;
}

uint64_t la_bigstr_number(lua_State *L, la_codec_t *c, const char *s) {
  for (int i = 0; i < LA_BIGSTRS; i++) {
    const la_bigstr_t *b = &c->big[i];
    if (b->number != 0 && b->s == s && push_entry(L, c, i)) {
      const bool same = lua_tostring(L, -1) == s;
      lua_pop(L, 1);
      if (same) {
        return b->number;
      }
    }
  }
  return 0;
}

bool la_bigstr_push(lua_State *L, la_codec_t *c, uint64_t number) {
  for (int i = 0; i < LA_BIGSTRS; i++) {
    if (c->big[i].number == number) {
      return push_entry(L, c, i);
    }
  }
  return false;
}

static void push_boxes(lua_State *L, la_codec_t *c) {
  la_codec_need_anchors(L, c);
  la_codec_push_anchors(L);
  if (!c->has_boxes) {
    lua_createtable(L, LA_BIGSTRS, 0);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawseti(L, -2, LA_ANCHOR_BOXES);
    c->has_boxes = true;
  }
  lua_rawgeti(L, -1, LA_ANCHOR_BOXES);
  lua_replace(L, -2);
}

void la_bigstr_note(lua_State *L, la_codec_t *c, const char *s,
                    uint64_t number) {
  int i = -1;
  for (int k = 0; k < LA_BIGSTRS; k++) {
    if (c->big[k].number == number || (i < 0 && c->big[k].s == s)) {
      i = k;
    }
  }
  if (i < 0) {
    i = c->next_big;
    c->next_big = (uint8_t)((i + 1) % LA_BIGSTRS);
  }
  push_boxes(L, c);
  lua_createtable(L, 1, 0);
  la_lslot_t *slot = la_ltable_at(L, -1)->array;
  slot->v.p = (void *)(uintptr_t)(s - offsetof(la_lstring_t, bytes));
  slot->tt = LA_V_LONGSTR;
  c->big[i] = (la_bigstr_t){0, NULL};
  lua_rawseti(L, -2, i + 1);
  c->big[i] = (la_bigstr_t){number, s};
  lua_pop(L, 1);
}
