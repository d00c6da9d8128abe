/* Hostile bytes for a connection from another node: the first byte chooses the
 * machine, the others are what the peer sends, in odd pieces. */
#include <stdlib.h>

#include "base/env.h"
#include "dist/control.h"
#include "dist/epmd.h"
#include "dist/frame.h"
#include "dist/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
  if (!ok) {
    abort();
  }
}

/* ---- handshake ------------------------------------------------------------- */

static la_hs_status_t admit(void *ud, const char *peer) {
  check(la_node_name_ok(peer, strlen(peer)));
  return (la_hs_status_t)(*(uint8_t *)ud >> 3) % 5;
}
static bool replace(void *ud) {
  return *(uint8_t *)ud & 4;
}
static void verified(void *ud) {
  (void)ud;
}
static size_t cookie(void *ud, const char *peer, char *out) {
  (void)ud;
  (void)peer;
  *out = 'c';
  return 1;
}
static void zeros(void *ud, void *bytes, size_t n) {
  (void)ud;
  memset(bytes, 0, n);
}

static void handshake(uint8_t how, const uint8_t *p, size_t n) {
  const la_hs_config_t config = {
      how & 1, how & 2, "me@here", "you@there", LA_DF_OURS, 1,
      {&how, admit, replace, verified, cookie, zeros}};
  la_hs_t *hs = la_hs_new(&config);
  la_buf_t out = {0};
  la_hs_start(hs, &out);
  la_hs_verdict_t v = LA_HS_GOING;
  while (n > 0 && v == LA_HS_GOING) {
    const size_t piece = 1 + p[0] % 40 < n ? 1 + p[0] % 40 : n;
    size_t used;
    v = la_hs_feed(hs, p, piece, &used, &out);
    check(used <= piece && (used == piece || v != LA_HS_GOING));
    p += piece;
    n -= piece;
  }
  check(v != LA_HS_FAILED || la_hs_why(hs)[0] != '\0');
  la_buf_free(&out);
  la_hs_free(hs);
}

/* ---- packets ---------------------------------------------------------------- */

static bool message(void *ud, la_packet_t *packet) {
  (void)ud;
  la_control_t c;
  const char *why;
  const uint8_t *p = packet->data + packet->at;
  const uint8_t *end = packet->data + packet->size;
  if (packet->has_versions && p < end) {
    p++;
  }
  p = la_control_read(p, end, &c, &why);
  if (p != NULL) {
    check(p <= end);
    la_buf_t b = {0};
    la_control_write(&b, &c);
    la_control_t again;
    check(la_control_read(b.data, b.data + b.len, &again, &why) != NULL);
    check(again.op == c.op);
    la_buf_free(&b);
    (void)la_wire_skip(p, end, NULL);
  }
  la_free(packet->data);
  return true;
}

static void dropped(void *ud, const char *why) {
  (void)ud;
  check(why != NULL);
}

static void packets(uint8_t how, const uint8_t *p, size_t n) {
  const la_frames_hooks_t hooks = {NULL, message, dropped};
  la_frames_t *r = la_frames_new(how & 1, LA_MESSAGE_MAX, &hooks);
  while (n > 0) {
    const size_t piece = 1 + p[0] % 40 < n ? 1 + p[0] % 40 : n;
    if (!la_frames_feed(r, p, piece)) {
      check(la_frames_why(r) != NULL);
      break;
    }
    p += piece;
    n -= piece;
  }
  la_frames_free(r);
}

/* ---- epmd -------------------------------------------------------------------- */

static void name_mapper(uint8_t how, const uint8_t *p, size_t n) {
  uint8_t *exact = malloc(n + 1);
  memcpy(exact, p, n);
  if (how & 1) {
    la_epmd_request_t request;
    const int used = la_epmd_read_request(exact, n, &request);
    check(used <= (int)n);
  } else {
    la_epmd_port_t port;
    uint32_t creation;
    (void)la_epmd_read_port(exact, n, &port);
    (void)la_epmd_read_registered(exact, n, &creation);
  }
  free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) {
    return 0;
  }
  const uint8_t how = data[1];
  switch (data[0] % 3) {
    case 0:
      handshake(how, data + 2, size - 2);
      break;
    case 1:
      packets(how, data + 2, size - 2);
      break;
    default:
      name_mapper(how, data + 2, size - 2);
  }
  return 0;
}
