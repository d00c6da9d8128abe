/* See handshake.h.
 *
 * 'state' says which message must come next. A message is collected whole in
 * 'in' before it is looked at, so every reader below knows its length and no
 * reader waits for bytes. What the peer wants beyond a message's known fields
 * is ignored (the standard asks for that): there a luactor node says that it is
 * one. */
#include "dist/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/env.h"

/* Behind the name in our N messages: "LUAC", version, abilities. */
static const uint8_t we_are_luactor[] = {'L', 'U', 'A', 'C', 1, 0, 0, 0, 0};

typedef enum {
  WANT_STATUS,    /* connecting */
  WANT_CHALLENGE, /* connecting */
  WANT_ACK,       /* connecting */
  WANT_NAME,      /* accepting */
  WANT_ANSWER,    /* accepting: to "alive" */
  WANT_REPLY,     /* accepting */
  OVER,
} state_t;

struct la_hs {
  la_hs_config_t config;
  state_t state;
  la_hs_verdict_t verdict;
  la_hs_peer_t peer;
  uint32_t challenge; /* ours */
  la_buf_t in;
  char why[400];
};

/* ---- small parts ---------------------------------------------------------- */

bool la_node_name_ok(const char *name, size_t len) {
  const char *at = memchr(name, '@', len);
  if (at == NULL || at == name || at == name + len - 1 ||
      len > LA_NODE_NAME_MAX ||
      memchr(at + 1, '@', (size_t)(name + len - at - 1)) != NULL) {
    return false;
  }
  for (size_t i = 0; i < len; i++) {
    const unsigned char c = (unsigned char)name[i];
    if (c <= ' ' || c == 127) {
      return false;
    }
  }
  return true;
}

bool la_hs_digest(const char *cookie, size_t len, uint32_t challenge,
                  uint8_t out[16]) {
  char text[LA_COOKIE_MAX + 16];
  if (len > LA_COOKIE_MAX) {
    return false;
  }
  memcpy(text, cookie, len);
  const int n = snprintf(text + len, 16, "%lu", (unsigned long)challenge);
  unsigned size = 16;
  const bool ok =
      EVP_Digest(text, len + (size_t)n, out, &size, EVP_md5(), NULL) == 1;
  OPENSSL_cleanse(text, sizeof text);
  return ok && size == 16;
}

/* A text of the peer for a log line: cut, without control characters. */
static void clean(char *out, size_t max, const uint8_t *text, size_t n) {
  size_t i = 0;
  for (; i < n && i < max - 1 && i < 64; i++) {
    out[i] = text[i] > ' ' && text[i] < 127 ? (char)text[i] : '?';
  }
  out[i] = '\0';
}

static la_hs_verdict_t end(la_hs_t *hs, la_hs_verdict_t verdict) {
  hs->state = OVER;
  hs->verdict = verdict;
  return verdict;
}

static la_hs_verdict_t fail(la_hs_t *hs, const char *fmt, const char *arg) {
  snprintf(hs->why, sizeof hs->why, fmt, arg);
  return end(hs, LA_HS_FAILED);
}

/* Begin a message of 'n' bytes behind its length. */
static void message(la_hs_t *hs, la_buf_t *out, size_t n) {
  if (hs->config.wide) {
    la_buf_u32(out, (uint32_t)n);
  } else {
    la_buf_u16(out, (uint16_t)n);
  }
}

static void send_status(la_hs_t *hs, la_buf_t *out, const char *text) {
  const size_t n = strlen(text);
  message(hs, out, 1 + n);
  la_buf_u8(out, 's');
  la_buf_put(out, text, n);
}

/* Our N message; the accepting side's has a challenge in it. */
static void send_name(la_hs_t *hs, la_buf_t *out, bool with_challenge) {
  const size_t n = strlen(hs->config.name);
  message(hs, out, 15 + n + sizeof we_are_luactor + (with_challenge ? 4 : 0));
  la_buf_u8(out, 'N');
  la_buf_u64(out, hs->config.flags);
  if (with_challenge) {
    la_buf_u32(out, hs->challenge);
  }
  la_buf_u32(out, hs->config.creation);
  la_buf_u16(out, (uint16_t)n);
  la_buf_put(out, hs->config.name, n);
  la_buf_put(out, we_are_luactor, sizeof we_are_luactor);
}

/* Digest of 'challenge' with the cookie for the peer. */
static bool digest(la_hs_t *hs, uint32_t challenge, uint8_t out[16]) {
  char cookie[LA_COOKIE_MAX];
  const size_t n =
      hs->config.hooks.cookie(hs->config.hooks.ud, hs->peer.name, cookie);
  const bool ok = n > 0 && la_hs_digest(cookie, n, challenge, out);
  OPENSSL_cleanse(cookie, sizeof cookie);
  return ok;
}

static void new_challenge(la_hs_t *hs) {
  hs->config.hooks.random(hs->config.hooks.ud, &hs->challenge,
                          sizeof hs->challenge);
}

static bool digest_matches(la_hs_t *hs, const uint8_t *theirs) {
  uint8_t mine[16];
  return digest(hs, hs->challenge, mine) &&
         CRYPTO_memcmp(mine, theirs, 16) == 0;
}

/* Take over the fields of an N message: flags, creation, name. False: it
 * has failed. */
static bool take_peer(la_hs_t *hs, uint64_t flags, uint32_t creation,
                      const uint8_t *name, size_t n, const uint8_t *extra,
                      size_t nextra) {
  char shown[72];
  clean(shown, sizeof shown, name, n);
  if (!la_node_name_ok((const char *)name, n)) {
    fail(hs, "'%s' is not the name of a node", shown);
    return false;
  }
  if (hs->config.connecting &&
      (strlen(hs->config.peer) != n ||
       memcmp(hs->config.peer, name, n) != 0)) {
    fail(hs, "another node answered: %s", shown);
    return false;
  }
  if (flags & LA_DF_MANDATORY_25_DIGEST) {
    flags |= LA_DF_REQUIRED;
  }
  memcpy(hs->peer.name, name, n);
  hs->peer.name[n] = '\0';
  hs->peer.flags = flags & hs->config.flags;
  hs->peer.creation = creation;
  hs->peer.is_luactor =
      nextra >= sizeof we_are_luactor && memcmp(extra, we_are_luactor, 5) == 0;
  return true;
}

static bool can_enough(const la_hs_t *hs) {
  return (hs->peer.flags & LA_DF_REQUIRED) == LA_DF_REQUIRED;
}

/* ---- the messages -------------------------------------------------------- */

static la_hs_verdict_t got_name(la_hs_t *hs, const uint8_t *m, size_t n,
                                la_buf_t *out) {
  if (n < 15 || m[0] != 'N') {
    return fail(hs, "the first message is not a name%s", "");
  }
  const size_t len = la_get16(m + 13);
  if (len > n - 15) {
    return fail(hs, "a name longer than its message%s", "");
  }
  if (!take_peer(hs, la_get64(m + 1), la_get32(m + 9), m + 15, len,
                 m + 15 + len, n - 15 - len)) {
    return hs->verdict;
  }
  if (!can_enough(hs)) {
    send_status(hs, out, "not_allowed");
    return fail(hs, "%s lacks abilities that every node needs",
                hs->peer.name);
  }
  switch (hs->config.hooks.admit(hs->config.hooks.ud, hs->peer.name)) {
    case LA_STATUS_OK:
      send_status(hs, out, "ok");
      break;
    case LA_STATUS_OK_SIMULTANEOUS:
      send_status(hs, out, "ok_simultaneous");
      break;
    case LA_STATUS_NOK:
      send_status(hs, out, "nok");
      return end(hs, LA_HS_DECLINED);
    case LA_STATUS_NOT_ALLOWED:
      send_status(hs, out, "not_allowed");
      return end(hs, LA_HS_DECLINED);
    case LA_STATUS_ALIVE:
      send_status(hs, out, "alive");
      hs->state = WANT_ANSWER;
      return LA_HS_GOING;
  }
  new_challenge(hs);
  send_name(hs, out, true);
  hs->state = WANT_REPLY;
  return LA_HS_GOING;
}

static bool is_status(const uint8_t *m, size_t n, const char *text) {
  return n == 1 + strlen(text) && memcmp(m + 1, text, n - 1) == 0;
}

static la_hs_verdict_t got_answer(la_hs_t *hs, const uint8_t *m, size_t n,
                                  la_buf_t *out) {
  if (n < 1 || m[0] != 's') {
    return fail(hs, "no answer to 'alive' from %s", hs->peer.name);
  }
  if (is_status(m, n, "false")) {
    return end(hs, LA_HS_DECLINED);
  }
  if (!is_status(m, n, "true")) {
    return fail(hs, "an unknown answer to 'alive' from %s", hs->peer.name);
  }
  new_challenge(hs);
  send_name(hs, out, true);
  hs->state = WANT_REPLY;
  return LA_HS_GOING;
}

static la_hs_verdict_t got_reply(la_hs_t *hs, const uint8_t *m, size_t n,
                                 la_buf_t *out) {
  if (n != 21 || m[0] != 'r') {
    return fail(hs, "not a challenge reply from %s", hs->peer.name);
  }
  uint8_t mine[16];
  if (!digest_matches(hs, m + 5) || !digest(hs, la_get32(m + 1), mine)) {
    return fail(hs, "wrong cookie of %s", hs->peer.name);
  }
  hs->config.hooks.verified(hs->config.hooks.ud);
  message(hs, out, 17);
  la_buf_u8(out, 'a');
  la_buf_put(out, mine, 16);
  return end(hs, LA_HS_DONE);
}

static la_hs_verdict_t got_status(la_hs_t *hs, const uint8_t *m, size_t n,
                                  la_buf_t *out) {
  if (n < 1 || m[0] != 's') {
    return fail(hs, "no status from %s", hs->config.peer);
  }
  if (is_status(m, n, "ok") || is_status(m, n, "ok_simultaneous")) {
    hs->state = WANT_CHALLENGE;
    return LA_HS_GOING;
  }
  if (is_status(m, n, "nok")) {
    return end(hs, LA_HS_YIELDED);
  }
  if (is_status(m, n, "not_allowed")) {
    return fail(hs, "%s does not allow the connection", hs->config.peer);
  }
  if (!is_status(m, n, "alive")) {
    return fail(hs, "an unknown status from %s", hs->config.peer);
  }
  if (!hs->config.hooks.replace(hs->config.hooks.ud)) {
    send_status(hs, out, "false");
    return end(hs, LA_HS_DECLINED);
  }
  send_status(hs, out, "true");
  hs->state = WANT_CHALLENGE;
  return LA_HS_GOING;
}

static la_hs_verdict_t got_challenge(la_hs_t *hs, const uint8_t *m, size_t n,
                                     la_buf_t *out) {
  if (n < 19 || m[0] != 'N') {
    return fail(hs, "no challenge from %s", hs->config.peer);
  }
  const size_t len = la_get16(m + 17);
  if (len > n - 19) {
    return fail(hs, "a name longer than its message%s", "");
  }
  if (!take_peer(hs, la_get64(m + 1), la_get32(m + 13), m + 19, len,
                 m + 19 + len, n - 19 - len)) {
    return hs->verdict;
  }
  if (!can_enough(hs)) {
    return fail(hs, "%s lacks abilities that every node needs",
                hs->peer.name);
  }
  uint8_t mine[16];
  if (!digest(hs, la_get32(m + 9), mine)) {
    return fail(hs, "no cookie for %s", hs->peer.name);
  }
  new_challenge(hs);
  message(hs, out, 21);
  la_buf_u8(out, 'r');
  la_buf_u32(out, hs->challenge);
  la_buf_put(out, mine, 16);
  hs->state = WANT_ACK;
  return LA_HS_GOING;
}

static la_hs_verdict_t got_ack(la_hs_t *hs, const uint8_t *m, size_t n) {
  if (n != 17 || m[0] != 'a') {
    return fail(hs, "not a challenge acknowledgement from %s", hs->peer.name);
  }
  if (!digest_matches(hs, m + 1)) {
    return fail(hs, "wrong cookie of %s", hs->peer.name);
  }
  return end(hs, LA_HS_DONE);
}

static la_hs_verdict_t got(la_hs_t *hs, const uint8_t *m, size_t n,
                           la_buf_t *out) {
  switch (hs->state) {
    case WANT_NAME:
      return got_name(hs, m, n, out);
    case WANT_ANSWER:
      return got_answer(hs, m, n, out);
    case WANT_REPLY:
      return got_reply(hs, m, n, out);
    case WANT_STATUS:
      return got_status(hs, m, n, out);
    case WANT_CHALLENGE:
      return got_challenge(hs, m, n, out);
    case WANT_ACK:
      return got_ack(hs, m, n);
    case OVER:
      break;
  }
  return hs->verdict;
}

/* ---- the machine ---------------------------------------------------------- */

la_hs_t *la_hs_new(const la_hs_config_t *config) {
  la_hs_t *hs = la_zalloc(sizeof *hs);
  if (hs != NULL) {
    hs->config = *config;
    hs->state = config->connecting ? WANT_STATUS : WANT_NAME;
  }
  return hs;
}

void la_hs_free(la_hs_t *hs) {
  if (hs != NULL) {
    la_buf_free(&hs->in);
    la_free(hs);
  }
}

la_hs_verdict_t la_hs_start(la_hs_t *hs, la_buf_t *out) {
  if (hs->config.connecting) {
    send_name(hs, out, false);
  }
  return LA_HS_GOING;
}

la_hs_verdict_t la_hs_feed(la_hs_t *hs, const uint8_t *bytes, size_t n,
                           size_t *used, la_buf_t *out) {
  const size_t head = hs->config.wide ? 4 : 2;
  *used = 0;
  while (hs->state != OVER) {
    size_t want = head;
    if (hs->in.len >= head) {
      const size_t size =
          hs->config.wide ? la_get32(hs->in.data) : la_get16(hs->in.data);
      if (size > LA_HANDSHAKE_MESSAGE_MAX) {
        return fail(hs, "a handshake message that is too long%s", "");
      }
      want = head + size;
    }
    if (hs->in.len < want) {
      size_t take = want - hs->in.len;
      if (take > n - *used) {
        take = n - *used;
      }
      if (take == 0) {
        return LA_HS_GOING;
      }
      la_buf_put(&hs->in, bytes + *used, take);
      *used += take;
      if (hs->in.failed) {
        return fail(hs, "not enough memory%s", "");
      }
      continue;
    }
    got(hs, hs->in.data + head, want - head, out);
    hs->in.len = 0;
  }
  return hs->verdict;
}

const la_hs_peer_t *la_hs_peer(const la_hs_t *hs) {
  return &hs->peer;
}

const char *la_hs_why(const la_hs_t *hs) {
  return hs->why;
}
