/* The handshake of the Erlang distribution protocol, version 6, both roles.
 *
 * A state machine without I/O: bytes of the peer go in, bytes for the peer
 * come out, and at the end stands a verdict. What needs to know about other
 * connections (is there one already, who may connect, which cookie) is asked
 * through callbacks. One thread at a time.
 *
 *   connecting side                       accepting side
 *   N name, flags, creation  ---------->
 *                            <----------  s status
 *   s true | false           ---------->            (status was "alive")
 *                            <----------  N name, flags, challenge, creation
 *   r challenge, digest      ---------->
 *                            <----------  a digest
 *
 * Source: "Distribution Protocol" in the ERTS User's Guide. */
#ifndef LA_HANDSHAKE_H
#define LA_HANDSHAKE_H

#include "base/buf.h"

#define LA_NODE_NAME_MAX 255
#define LA_HANDSHAKE_MESSAGE_MAX 4096
#define LA_COOKIE_MAX 255

/* X(symbol, bit): what a node can do. */
#define LA_DIST_FLAGS(X)       \
  X(PUBLISHED, 0)              \
  X(EXTENDED_REFERENCES, 2)    \
  X(DIST_MONITOR, 3)           \
  X(FUN_TAGS, 4)               \
  X(DIST_MONITOR_NAME, 5)      \
  X(NEW_FUN_TAGS, 7)           \
  X(EXTENDED_PIDS_PORTS, 8)    \
  X(EXPORT_PTR_TAG, 9)         \
  X(BIT_BINARIES, 10)          \
  X(NEW_FLOATS, 11)            \
  X(DIST_HDR_ATOM_CACHE, 13)   \
  X(SMALL_ATOM_TAGS, 14)       \
  X(UTF8_ATOMS, 16)            \
  X(MAP_TAG, 17)               \
  X(BIG_CREATION, 18)          \
  X(SEND_SENDER, 19)           \
  X(EXIT_PAYLOAD, 22)          \
  X(FRAGMENTS, 23)             \
  X(HANDSHAKE_23, 24)          \
  X(UNLINK_ID, 25)             \
  X(MANDATORY_25_DIGEST, 26)   \
  X(SPAWN, 32)                 \
  X(V4_NC, 34)                 \
  X(ALIAS, 35)

#define X(sym, bit) static const uint64_t LA_DF_##sym = UINT64_C(1) << bit;
LA_DIST_FLAGS(X)
#undef X

/* All but PUBLISHED and the atom cache. */
#define LA_DF_OURS UINT64_C(0xD07CF4FBC)
/* What every peer must be able to do (OTP 25 and later can). */
#define LA_DF_REQUIRED UINT64_C(0x1070F94)

typedef enum {
  LA_STATUS_OK,
  LA_STATUS_OK_SIMULTANEOUS,
  LA_STATUS_NOK,
  LA_STATUS_NOT_ALLOWED,
  LA_STATUS_ALIVE,
} la_hs_status_t;

typedef enum {
  LA_HS_GOING,
  LA_HS_DONE,      /* the connection stands */
  LA_HS_YIELDED,   /* connecting: the peer's own attempt wins; wait for it */
  LA_HS_DECLINED,  /* accepting: nok or not_allowed was sent; or the peer kept
                    * its old connection. Connecting: we did not replace */
  LA_HS_FAILED,    /* 'why' says what was wrong */
} la_hs_verdict_t;

typedef struct la_hs_hooks {
  void *ud;
  /* Accepting: the peer says who it is (its flags are checked). */
  la_hs_status_t (*admit)(void *ud, const char *peer);
  /* Connecting: the peer believes that we are connected. True: take this
   * connection all the same. */
  bool (*replace)(void *ud);
  /* Accepting: the peer has proved itself; an older connection to it is to be
   * closed now, before it hears that this one stands. */
  void (*verified)(void *ud);
  /* The cookie for a peer: its length; 0: none, which fails the handshake. At
   * most LA_COOKIE_MAX bytes are written. */
  size_t (*cookie)(void *ud, const char *peer, char *out);
  void (*random)(void *ud, void *bytes, size_t n);
} la_hs_hooks_t;

typedef struct la_hs la_hs_t;

typedef struct la_hs_config {
  bool connecting;
  bool wide;          /* lengths of 32 bits: inside TLS */
  const char *name;   /* ours: name@host */
  const char *peer;   /* connecting: who must answer */
  uint64_t flags;
  uint32_t creation;
  la_hs_hooks_t hooks;
} la_hs_config_t;

/* What is known when the verdict is DONE. */
typedef struct la_hs_peer {
  char name[LA_NODE_NAME_MAX + 1];
  uint64_t flags;     /* those of both sides */
  uint32_t creation;
  bool is_luactor;    /* private tags may be sent */
} la_hs_peer_t;

/* The texts of 'config' must stay until the end. NULL: memory. */
la_hs_t *la_hs_new(const la_hs_config_t *config);
void la_hs_free(la_hs_t *hs);
/* The connection is open: the connecting side writes its first message. */
la_hs_verdict_t la_hs_start(la_hs_t *hs, la_buf_t *out);
/* Bytes of the peer. '*used' of them belong to the handshake; after DONE the rest is
 * of the connection. Answers are appended to 'out' also when it failed. */
la_hs_verdict_t la_hs_feed(la_hs_t *hs, const uint8_t *bytes, size_t n,
                           size_t *used, la_buf_t *out);
const la_hs_peer_t *la_hs_peer(const la_hs_t *hs);
/* Why it failed: one line, with the peer's name cut and cleaned. */
const char *la_hs_why(const la_hs_t *hs);

/* Is it name@host: one '@', neither part empty, nothing that is not
 * printable, at most LA_NODE_NAME_MAX bytes? */
bool la_node_name_ok(const char *name, size_t len);
/* MD5(cookie, challenge in decimal): 16 bytes. False: no MD5 to be had. */
bool la_hs_digest(const char *cookie, size_t len, uint32_t challenge,
                  uint8_t out[16]);

#endif
