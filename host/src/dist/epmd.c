#include "dist/epmd.h"

#include <stdio.h>

#include "base/env.h"

enum {
  NAMES_REQ = 110,
  PORT2_RESP = 119,
  ALIVE2_X_RESP = 118,
  ALIVE2_REQ = 120,
  ALIVE2_RESP = 121,
  PORT2_REQ = 122,
};

#define VERSION 6

/* ---- requests ----------------------------------------------------------------- */

void la_epmd_register(la_buf_t *b, const char *name, uint16_t port,
                      bool hidden) {
  const size_t n = strlen(name);
  la_buf_u16(b, (uint16_t)(13 + n));
  la_buf_u8(b, ALIVE2_REQ);
  la_buf_u16(b, port);
  la_buf_u8(b, hidden ? LA_EPMD_HIDDEN : LA_EPMD_NORMAL);
  la_buf_u8(b, 0); /* protocol: TCP over IPv4 */
  la_buf_u16(b, VERSION);
  la_buf_u16(b, VERSION);
  la_buf_u16(b, (uint16_t)n);
  la_buf_put(b, name, n);
  la_buf_u16(b, 0);
}

void la_epmd_lookup(la_buf_t *b, const char *name) {
  const size_t n = strlen(name);
  la_buf_u16(b, (uint16_t)(1 + n));
  la_buf_u8(b, PORT2_REQ);
  la_buf_put(b, name, n);
}

void la_epmd_names(la_buf_t *b) {
  la_buf_u16(b, 1);
  la_buf_u8(b, NAMES_REQ);
}

la_epmd_answer_t la_epmd_read_registered(const uint8_t *p, size_t n,
                                         uint32_t *creation) {
  if (n < 2) {
    return LA_EPMD_MORE;
  }
  if (p[0] != ALIVE2_X_RESP && p[0] != ALIVE2_RESP) {
    return LA_EPMD_BAD;
  }
  const size_t whole = p[0] == ALIVE2_X_RESP ? 6 : 4;
  if (n < whole) {
    return LA_EPMD_MORE;
  }
  *creation = whole == 6 ? la_get32(p + 2) : la_get16(p + 2);
  return p[1] == 0 ? LA_EPMD_OK : LA_EPMD_REFUSED;
}

la_epmd_answer_t la_epmd_read_port(const uint8_t *p, size_t n,
                                   la_epmd_port_t *out) {
  if (n < 2) {
    return LA_EPMD_MORE;
  }
  if (p[0] != PORT2_RESP) {
    return LA_EPMD_BAD;
  }
  if (p[1] != 0) {
    return LA_EPMD_REFUSED;
  }
  if (n < 10) {
    return LA_EPMD_MORE;
  }
  out->port = la_get16(p + 2);
  out->type = p[4];
  out->highest = la_get16(p + 6);
  out->lowest = la_get16(p + 8);
  return out->port == 0 || out->highest < 5 || out->lowest > VERSION
             ? LA_EPMD_BAD
             : LA_EPMD_OK;
}

/* ---- the mapper ----------------------------------------------------------------- */

int la_epmd_read_request(const uint8_t *p, size_t n, la_epmd_request_t *out) {
  if (n < 3) {
    return 0;
  }
  const size_t size = la_get16(p);
  if (size < 1 || size > 13 + LA_EPMD_NAME_MAX + 1024) {
    return -1;
  }
  if (n < 2 + size) {
    return 0;
  }
  const uint8_t *body = p + 3;
  memset(out, 0, sizeof *out);
  switch (p[2]) {
    case NAMES_REQ:
      out->op = LA_EPMD_NAMES;
      break;
    case PORT2_REQ:
      out->op = LA_EPMD_LOOKUP;
      out->name = body;
      out->name_len = (uint16_t)(size - 1);
      break;
    case ALIVE2_REQ:
      if (size < 13) {
        return -1;
      }
      out->op = LA_EPMD_REGISTER;
      out->port.port = la_get16(body);
      out->port.type = body[2];
      out->port.highest = la_get16(body + 4);
      out->port.lowest = la_get16(body + 6);
      out->name_len = la_get16(body + 8);
      out->name = body + 10;
      if (out->name_len > size - 13) {
        return -1;
      }
      break;
    default:
      return -1;
  }
  if (out->name_len > LA_EPMD_NAME_MAX ||
      (out->op != LA_EPMD_NAMES && out->name_len == 0)) {
    return -1;
  }
  return (int)(2 + size);
}

typedef struct entry {
  struct entry *next;
  const void *owner;
  la_epmd_port_t port;
  uint16_t name_len;
  uint8_t name[];
} entry_t;

struct la_epmd {
  uint16_t own_port;
  entry_t *entries; /* newest first; a machine has a handful of nodes */
};

la_epmd_t *la_epmd_new(uint16_t own_port) {
  la_epmd_t *m = la_zalloc(sizeof *m);
  if (m != NULL) {
    m->own_port = own_port;
  }
  return m;
}

void la_epmd_free(la_epmd_t *m) {
  while (m != NULL && m->entries != NULL) {
    entry_t *e = m->entries;
    m->entries = e->next;
    la_free(e);
  }
  la_free(m);
}

static entry_t *find(la_epmd_t *m, const la_epmd_request_t *r) {
  for (entry_t *e = m->entries; e != NULL; e = e->next) {
    if (e->name_len == r->name_len &&
        memcmp(e->name, r->name, r->name_len) == 0) {
      return e;
    }
  }
  return NULL;
}

static bool add(la_epmd_t *m, const la_epmd_request_t *r, const void *owner) {
  entry_t *e = la_alloc(sizeof *e + r->name_len);
  if (e == NULL) {
    return false;
  }
  e->owner = owner;
  e->port = r->port;
  e->name_len = r->name_len;
  memcpy(e->name, r->name, r->name_len);
  e->next = m->entries;
  m->entries = e;
  return true;
}

static void answer_port(const entry_t *e, la_buf_t *out) {
  la_buf_u8(out, PORT2_RESP);
  la_buf_u8(out, e == NULL);
  if (e == NULL) {
    return;
  }
  la_buf_u16(out, e->port.port);
  la_buf_u8(out, e->port.type);
  la_buf_u8(out, 0);
  la_buf_u16(out, e->port.highest);
  la_buf_u16(out, e->port.lowest);
  la_buf_u16(out, e->name_len);
  la_buf_put(out, e->name, e->name_len);
  la_buf_u16(out, 0);
}

static void answer_names(const la_epmd_t *m, la_buf_t *out) {
  la_buf_u32(out, m->own_port);
  for (const entry_t *e = m->entries; e != NULL; e = e->next) {
    char line[40];
    la_buf_put(out, "name ", 5);
    la_buf_put(out, e->name, e->name_len);
    const int n = snprintf(line, sizeof line, " at port %u\n", e->port.port);
    la_buf_put(out, line, (size_t)n);
  }
}

void la_epmd_answer(la_epmd_t *m, const la_epmd_request_t *request,
                    const void *owner, bool from_here, uint32_t creation,
                    la_buf_t *out, bool *keep) {
  *keep = false;
  switch (request->op) {
    case LA_EPMD_REGISTER:
      *keep = from_here && find(m, request) == NULL && add(m, request, owner);
      la_buf_u8(out, ALIVE2_X_RESP);
      la_buf_u8(out, !*keep);
      /* 0 is reserved; small ones are those of old mappers. */
      la_buf_u32(out, creation < 4 ? 4 : creation);
      break;
    case LA_EPMD_LOOKUP:
      answer_port(find(m, request), out);
      break;
    case LA_EPMD_NAMES:
      answer_names(m, out);
      break;
  }
}

void la_epmd_gone(la_epmd_t *m, const void *owner) {
  for (entry_t **at = &m->entries; *at != NULL;) {
    entry_t *e = *at;
    if (e->owner == owner) {
      *at = e->next;
      la_free(e);
    } else {
      at = &e->next;
    }
  }
}
