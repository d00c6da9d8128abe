/* Terms as text for people and for machines: reports and log lines.
 *
 * What is printed is bounded in depth, in parts and in size, whatever the term
 * holds: a crash must not write a mailbox's worth of text. Values of keys that
 * name something secret are not shown. JSON stays well-formed when it is cut:
 * past the bound every value becomes "..." and the brackets are still closed,
 * for which LA_PRINT_SLACK bytes are kept. Pairs are printed in the order of
 * their keys, so that equal values give equal lines. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "term/tag.h"
#include "term/wire.h"

#define MAX_PARTS 40    /* of one table */
#define MAX_STRING 200  /* bytes of a string inside a text */
#define MAX_JSON_STRING 1000
#define MAX_KEY 60
#define HIDDEN "<redacted>"

const char la_print_secrets[] =
    "password\npasswd\npassphrase\nsecret\ntoken\ncookie\nauthorization\n"
    "api_key\napikey\nprivate_key\ncredential\n";

typedef struct {
  const la_term_t *t;
  const la_print_t *how;
  char *out;
  size_t len;
  size_t soft; /* past it nothing new is begun */
  size_t max;
} print_t;

static void put(print_t *o, const char *s, size_t n) {
  const size_t room = o->max - o->len;
  if (n > room) {
    n = room;
  }
  memcpy(o->out + o->len, s, n);
  o->len += n;
}

static void puts_text(print_t *o, const char *s) {
  put(o, s, strlen(s));
}

/* ---- strings --------------------------------------------------------------- */

static void print_string(print_t *o, const uint8_t *s, size_t n) {
  const size_t shown = n < MAX_STRING ? n : MAX_STRING;
  puts_text(o, "'");
  for (size_t i = 0; i < shown; i++) {
    char buf[8];
    const char *as = buf;
    if (s[i] == '\n') {
      as = "\\n";
    } else if (s[i] == '\'' || s[i] == '\\') {
      snprintf(buf, sizeof buf, "\\%c", s[i]);
    } else if (s[i] < 32 || s[i] == 127) {
      snprintf(buf, sizeof buf, "\\x%02x", s[i]);
    } else {
      snprintf(buf, sizeof buf, "%c", s[i]);
    }
    puts_text(o, as);
  }
  puts_text(o, shown < n ? "...'" : "'");
}

/* Length of the UTF-8 sequence at s, 0 when it is none. */
static size_t utf8_length(const uint8_t *s, size_t n) {
  const size_t len = s[0] < 0x80   ? 1
                     : s[0] < 0xC2 ? 0
                     : s[0] < 0xE0 ? 2
                     : s[0] < 0xF0 ? 3
                     : s[0] < 0xF5 ? 4
                                   : 0;
  if (len == 0 || len > n) {
    return 0;
  }
  for (size_t i = 1; i < len; i++) {
    if ((s[i] & 0xC0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) ||
                        (s[0] == 0xF0 && s[1] < 0x90);
  const bool no_char = (s[0] == 0xED && s[1] > 0x9F) ||
                       (s[0] == 0xF4 && s[1] > 0x8F);
  return overlong || no_char ? 0 : len;
}

/* Bytes that are no UTF-8 become U+FFFD. */
static void json_string(print_t *o, const uint8_t *s, size_t n, size_t max) {
  const size_t shown = n < max ? n : max;
  puts_text(o, "\"");
  for (size_t i = 0; i < shown;) {
    const size_t len = utf8_length(s + i, n - i);
    char buf[8];
    if (len == 0) {
      puts_text(o, "\xEF\xBF\xBD");
    } else if (s[i] == '"' || s[i] == '\\') {
      snprintf(buf, sizeof buf, "\\%c", s[i]);
      puts_text(o, buf);
    } else if (s[i] == '\n') {
      puts_text(o, "\\n");
    } else if (s[i] < 32 || s[i] == 127) {
      snprintf(buf, sizeof buf, "\\u%04x", s[i]);
      puts_text(o, buf);
    } else {
      put(o, (const char *)s + i, len);
    }
    i += len > 0 ? len : 1;
  }
  puts_text(o, shown < n ? "...\"" : "\"");
}

size_t la_print_json_text(const char *s, size_t len, size_t limit, char *out,
                          size_t max) {
  print_t o = {.out = out, .max = max};
  json_string(&o, (const uint8_t *)s, len, limit);
  return o.len;
}

static void print_text(print_t *o, const char *s, size_t n) {
  if (o->how->json) {
    json_string(o, (const uint8_t *)s, n, MAX_JSON_STRING);
  } else {
    put(o, s, n);
  }
}

static void print_float(print_t *o, double d) {
  char buf[40];
  if (isnan(d)) {
    print_text(o, "nan", 3);
  } else if (isinf(d)) {
    print_text(o, d < 0 ? "-inf" : "inf", d < 0 ? 4 : 3);
  } else {
    snprintf(buf, sizeof buf, "%.14g", d);
    puts_text(o, buf);
    if (strspn(buf, "-0123456789") == strlen(buf)) {
      puts_text(o, ".0");
    }
  }
}

/* ---- tables ------------------------------------------------------------------ */

static void print_at(print_t *o, const uint8_t *p, int depth);

static bool is_name(const la_view_t *v) {
  if (v->kind != LA_K_TEXT || v->len == 0 || v->len > 40 ||
      (v->at[0] >= '0' && v->at[0] <= '9')) {
    return false;
  }
  for (size_t i = 0; i < v->len; i++) {
    const uint8_t c = v->at[i];
    if (!isalnum(c) && c != '_') {
      return false;
    }
  }
  return true;
}

static bool holds(const char *s, size_t len, const char *word, size_t n) {
  for (size_t i = 0; i + n <= len; i++) {
    if (memcmp(s + i, word, n) == 0) {
      return true;
    }
  }
  return false;
}

bool la_print_is_secret(const char *words, const char *key, size_t len) {
  char low[MAX_KEY];
  if (words == NULL) {
    return false;
  }
  if (len > sizeof low) {
    len = sizeof low;
  }
  for (size_t i = 0; i < len; i++) {
    low[i] = (char)tolower((unsigned char)key[i]);
  }
  for (const char *w = words; *w != '\0';) {
    const size_t n = strcspn(w, "\n");
    if (n > 0 && holds(low, len, w, n)) {
      return true;
    }
    w += n + (w[n] == '\n');
  }
  return false;
}

static void print_key(print_t *o, const uint8_t *p, int depth) {
  la_view_t v;
  la_view(o->t, p, &v);
  if (o->how->json) {
    if (v.kind == LA_K_TEXT) {
      json_string(o, v.at, v.len, MAX_STRING);
    } else { /* 1, <0.12>, {...}: as the text that it has elsewhere */
      char text[MAX_KEY];
      const la_print_t plain = {.depth = 1};
      const la_term_t sub = {p, (size_t)(la_skip(p) - p), o->t->blobs,
                             o->t->nblobs};
      print_t inner = {&sub, &plain, text, 0, sizeof text, sizeof text};
      if (*p == LA_TAG_REF || v.kind == LA_K_TABLE) {
        puts_text(&inner, "{...}");
      } else {
        print_at(&inner, p, 1);
      }
      json_string(o, (const uint8_t *)text, inner.len, MAX_KEY);
    }
    puts_text(o, ":");
    return;
  }
  if (is_name(&v)) {
    put(o, (const char *)v.at, v.len);
  } else {
    puts_text(o, "[");
    print_at(o, p, depth);
    puts_text(o, "]");
  }
  puts_text(o, " = ");
}

typedef struct {
  const uint8_t *key;
  la_view_t v;
} pair_t;

/* Numbers before texts before all else, which stays as it comes. */
static int compare_pairs(const void *a, const void *b) {
  const pair_t *x = a, *y = b;
  if (x->v.kind == LA_K_TEXT && y->v.kind == LA_K_TEXT) {
    const size_t n = x->v.len < y->v.len ? x->v.len : y->v.len;
    const int d = memcmp(x->v.at, y->v.at, n);
    return d != 0 ? d : (x->v.len > y->v.len) - (x->v.len < y->v.len);
  }
  if (x->v.kind == LA_K_INT && y->v.kind == LA_K_INT) {
    return (x->v.i > y->v.i) - (x->v.i < y->v.i);
  }
  if (x->v.kind != y->v.kind) {
    return (int)x->v.kind - (int)y->v.kind;
  }
  return (x->key > y->key) - (x->key < y->key);
}

static uint32_t sorted_pairs(const la_term_t *t, const uint8_t *p, uint32_t n,
                             pair_t *pairs, uint32_t max) {
  const uint32_t count = n < max ? n : max;
  for (uint32_t i = 0; i < count; i++) {
    pairs[i].key = p;
    la_view(t, p, &pairs[i].v);
    p = la_skip(la_skip(p));
  }
  qsort(pairs, count, sizeof *pairs, compare_pairs);
  return count;
}

static bool is_over(const print_t *o) {
  return o->len >= o->soft;
}

static void print_pair(print_t *o, const pair_t *pair, int depth) {
  print_key(o, pair->key, depth + 1);
  if (pair->v.kind == LA_K_TEXT &&
      la_print_is_secret(o->how->secrets, (const char *)pair->v.at,
                         pair->v.len)) {
    print_text(o, HIDDEN, strlen(HIDDEN));
  } else {
    print_at(o, la_skip(pair->key), depth + 1);
  }
}

static void print_sequence(print_t *o, const la_view_t *v, int depth) {
  const uint8_t *p = v->at;
  for (uint32_t i = 0; i < v->nseq; i++) {
    puts_text(o, i == 0 ? "" : o->how->json ? "," : ", ");
    if (i == MAX_PARTS || (o->how->json && is_over(o))) {
      print_text(o, "...", 3);
      return;
    }
    print_at(o, p, depth + 1);
    p = la_skip(p);
  }
}

/* In a JSON object the elements of a sequence have their numbers for keys. */
static void json_elements(print_t *o, const la_view_t *v, int depth) {
  const uint8_t *p = v->at;
  for (uint32_t i = 0; i < v->nseq && i < MAX_PARTS && !is_over(o); i++) {
    char key[16];
    snprintf(key, sizeof key, "%s\"%" PRIu32 "\":", i > 0 ? "," : "", i + 1);
    puts_text(o, key);
    print_at(o, p, depth + 1);
    p = la_skip(p);
  }
}

static void print_pairs(print_t *o, const uint8_t *p, uint32_t n, bool first,
                        int depth) {
  const bool json = o->how->json;
  pair_t pairs[MAX_PARTS];
  const uint32_t count = sorted_pairs(o->t, p, n, pairs, MAX_PARTS);
  for (uint32_t i = 0; i < count; i++) {
    puts_text(o, first ? "" : json ? "," : ", ");
    first = false;
    if (json && is_over(o)) {
      puts_text(o, "\"...\":\"...\"");
      return;
    }
    print_pair(o, &pairs[i], depth);
  }
  if (count < n) {
    puts_text(o, json ? ",\"...\":\"...\"" : ", ...");
  }
}

static void print_table(print_t *o, const la_view_t *v, int depth) {
  const bool json = o->how->json;
  if (depth >= o->how->depth) {
    print_text(o, "{...}", 5);
    return;
  }
  uint32_t n = 0;
  const uint8_t *pairs = la_view_pairs(o->t, v, &n);
  if (json && n == 0 && v->nseq > 0) {
    puts_text(o, "[");
    print_sequence(o, v, depth);
    puts_text(o, "]");
    return;
  }
  puts_text(o, "{");
  if (json) {
    json_elements(o, v, depth);
  } else {
    print_sequence(o, v, depth);
  }
  if (n > 0) {
    print_pairs(o, pairs, n, v->nseq == 0, depth);
  }
  puts_text(o, "}");
}

/* <name@host.12> and the like. */
static void print_raw(print_t *o, const la_view_t *v) {
  la_wire_id_t id;
  char buf[48];
  if ((v->tag != LA_TAG_PID && v->tag != LA_TAG_REFERENCE) ||
      la_wire_id_read(v->start, la_skip(v->start), &id) == NULL) {
    puts_text(o, v->tag == LA_TAG_CONS ? "improper list" : "opaque");
    return;
  }
  puts_text(o, id.kind == LA_WIRE_PID ? "<" : "#ref<");
  put(o, (const char *)id.node, id.node_len);
  if (id.kind == LA_WIRE_PID) {
    snprintf(buf, sizeof buf, ".%" PRIu64 ">",
             (uint64_t)id.words[1] << 28 | id.words[0]);
  } else {
    snprintf(buf, sizeof buf, ".%lu>",
             (unsigned long)id.words[id.nwords - 1]);
  }
  puts_text(o, buf);
}

static void print_at(print_t *o, const uint8_t *p, int depth) {
  char buf[48];
  la_view_t v;
  if (is_over(o)) {
    if (o->how->json) {
      puts_text(o, "\"...\"");
    }
    return;
  }
  la_view(o->t, p, &v);
  switch (v.kind) {
    case LA_K_NIL:
      puts_text(o, o->how->json ? "null" : "nil");
      break;
    case LA_K_BOOL:
      puts_text(o, v.i != 0 ? "true" : "false");
      break;
    case LA_K_INT:
      snprintf(buf, sizeof buf, "%" PRId64, v.i);
      puts_text(o, buf);
      break;
    case LA_K_FLOAT:
      print_float(o, v.d);
      break;
    case LA_K_TEXT:
      if (o->how->json) {
        json_string(o, v.at, v.len, MAX_JSON_STRING);
      } else {
        print_string(o, v.at, v.len);
      }
      break;
    case LA_K_ID:
      print_text(o, buf, la_id_print(v.id, buf));
      break;
    case LA_K_TABLE:
      print_table(o, &v, depth);
      break;
    case LA_K_FUNC:
      print_text(o, "function", 8);
      break;
    case LA_K_NAMED_TABLE:
      puts_text(o, o->how->json ? "\"" : "");
      puts_text(o, v.tag == LA_TAG_GLOBALS ? "_G" : "module");
      puts_text(o, o->how->json ? "\"" : "");
      break;
    case LA_K_RAW:
      puts_text(o, o->how->json ? "\"" : "");
      print_raw(o, &v);
      puts_text(o, o->how->json ? "\"" : "");
      break;
    default:
      puts_text(o, o->how->json ? "\"" : "");
      puts_text(o, v.tag == LA_TAG_SMALL_BIG ? "bignum" : "object");
      puts_text(o, o->how->json ? "\"" : "");
      break;
  }
}

/* ---- from outside ------------------------------------------------------------ */

size_t la_term_print_as(const la_term_t *t, const la_print_t *how, char *out,
                        size_t max) {
  const size_t soft = !how->json ? max
                      : max > LA_PRINT_SLACK ? max - LA_PRINT_SLACK
                                             : 0;
  print_t o = {t, how, out, 0, soft, max};
  if (t->size == 0) {
    return 0;
  }
  print_at(&o, t->bytes, 0);
  if (!how->json && o.len == max && max >= 3) {
    memcpy(out + max - 3, "...", 3);
  }
  return o.len;
}

size_t la_term_print(const la_term_t *t, char *out, size_t max) {
  const la_print_t how = {.depth = 6, .secrets = la_print_secrets};
  return la_term_print_as(t, &how, out, max);
}

uint32_t la_term_fields(const la_term_t *t, la_field_t *out, uint32_t max) {
  la_view_t v;
  uint32_t n = 0;
  pair_t pairs[MAX_PARTS];
  if (t->size == 0) {
    return 0;
  }
  la_view(t, t->bytes, &v);
  if (v.kind != LA_K_TABLE) {
    return 0;
  }
  const uint8_t *p = la_view_pairs(t, &v, &n);
  const uint32_t count =
      sorted_pairs(t, p, n, pairs, max < MAX_PARTS ? max : MAX_PARTS);
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (pairs[i].v.kind != LA_K_TEXT) {
      continue;
    }
    const uint8_t *value = la_skip(pairs[i].key);
    const uint8_t *start = la_deref(value);
    out[found++] = (la_field_t){
        .key = (const char *)pairs[i].v.at,
        .len = pairs[i].v.len,
        .value = start,
        .size = (size_t)(la_skip(start) - start),
    };
  }
  return found;
}
