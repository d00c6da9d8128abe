#include "io/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/env.h"

struct la_tls {
  SSL_CTX *ctx;
  _Atomic unsigned refs;
};

struct la_tls_conn {
  la_tls_t *tls;
  SSL *ssl;
  BIO *in, *out; /* owned by 'ssl' */
  bool accepting;
  char why[200];
};

/* ---- the host's part ---------------------------------------------------------- */

/* The oldest error of this thread, as text; the others are forgotten. */
static void last_error(char *why, size_t max, const char *what,
                       const char *file) {
  const unsigned long code = ERR_get_error();
  const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
  if (ERR_SYSTEM_ERROR(code)) { /* such as a file that is missing */
    reason = strerror(ERR_GET_REASON(code));
  }
  snprintf(why, max, "%s%s%s: %s", what, *file != '\0' ? " " : "", file,
           reason != NULL ? reason : "unknown error");
  ERR_clear_error();
}

static bool load(SSL_CTX *ctx, const char *cert, const char *key,
                 const char *ca, char *why, size_t max) {
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
    last_error(why, max, "certificate", cert);
    return false;
  }
  if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
    last_error(why, max, "key", key);
    return false;
  }
  if (SSL_CTX_check_private_key(ctx) != 1) {
    last_error(why, max, "key", key);
    return false;
  }
  if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1) {
    last_error(why, max, "authorities", ca);
    return false;
  }
  STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca);
  SSL_CTX_set_client_CA_list(ctx, names);
  return true;
}

la_tls_t *la_tls_new(const char *cert, const char *key, const char *ca,
                     char *why, size_t max) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_method());
  la_tls_t *t = la_zalloc(sizeof *t);
  if (ctx == NULL || t == NULL) {
    snprintf(why, max, "not enough memory");
    SSL_CTX_free(ctx);
    la_free(t);
    return NULL;
  }
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     NULL);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  if (!load(ctx, cert, key, ca, why, max)) {
    SSL_CTX_free(ctx);
    la_free(t);
    return NULL;
  }
  t->ctx = ctx;
  t->refs = 1;
  return t;
}

la_tls_t *la_tls_ref(la_tls_t *t) {
  atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
  return t;
}

void la_tls_unref(la_tls_t *t) {
  if (t != NULL && atomic_fetch_sub(&t->refs, 1) == 1) {
    SSL_CTX_free(t->ctx);
    la_free(t);
  }
}

/* ---- connections ---------------------------------------------------------------- */

static bool is_address(const char *host) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, host, bytes) == 1 ||
         inet_pton(AF_INET6, host, bytes) == 1;
}

la_tls_conn_t *la_tls_conn_new(la_tls_t *t, const char *server_name) {
  la_tls_conn_t *c = la_zalloc(sizeof *c);
  if (c == NULL) {
    return NULL;
  }
  c->tls = la_tls_ref(t);
  c->ssl = SSL_new(t->ctx);
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  if (c->ssl == NULL || in == NULL || out == NULL) {
    BIO_free(in);
    BIO_free(out);
    la_tls_conn_free(c);
    return NULL;
  }
  SSL_set_bio(c->ssl, in, out);
  c->in = in;
  c->out = out;
  c->accepting = server_name == NULL;
  if (c->accepting) {
    SSL_set_accept_state(c->ssl);
  } else {
    SSL_set_connect_state(c->ssl);
    if (!is_address(server_name)) {
      SSL_set_tlsext_host_name(c->ssl, server_name);
    }
  }
  return c;
}

void la_tls_conn_free(la_tls_conn_t *c) {
  if (c != NULL) {
    SSL_free(c->ssl);
    la_tls_unref(c->tls);
    la_free(c);
  }
}

void la_tls_flush(la_tls_conn_t *c, la_buf_t *out) {
  char *data;
  const long n = BIO_get_mem_data(c->out, &data);
  if (n > 0) {
    la_buf_put(out, data, (size_t)n);
    (void)BIO_reset(c->out);
  }
}

static la_tls_result_t failed(la_tls_conn_t *c, const char *what) {
  const long verified = SSL_get_verify_result(c->ssl);
  if (verified != X509_V_OK) {
    snprintf(c->why, sizeof c->why, "%s: %s", what,
             X509_verify_cert_error_string(verified));
    ERR_clear_error();
  } else {
    last_error(c->why, sizeof c->why, what, "");
  }
  return LA_TLS_FAILED;
}

la_tls_result_t la_tls_handshake(la_tls_conn_t *c, la_buf_t *out,
                                 bool *done) {
  ERR_clear_error();
  const int r = SSL_do_handshake(c->ssl);
  *done = r == 1;
  const int error = r == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);
  la_tls_flush(c, out);
  return r == 1 || error == SSL_ERROR_WANT_READ ? LA_TLS_OK
                                                : failed(c, "TLS handshake");
}

bool la_tls_feed(la_tls_conn_t *c, const uint8_t *bytes, size_t n) {
  while (n > 0) {
    const int part = n > 1 << 20 ? 1 << 20 : (int)n;
    if (BIO_write(c->in, bytes, part) != part) {
      return false;
    }
    bytes += part;
    n -= (size_t)part;
  }
  return true;
}

la_tls_result_t la_tls_read(la_tls_conn_t *c, uint8_t *to, size_t n,
                            size_t *got) {
  ERR_clear_error();
  *got = 0;
  if (SSL_read_ex(c->ssl, to, n, got) == 1) {
    return LA_TLS_OK;
  }
  switch (SSL_get_error(c->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
      return LA_TLS_OK;
    case SSL_ERROR_ZERO_RETURN:
      return LA_TLS_CLOSED;
    default:
      return failed(c, "TLS");
  }
}

la_tls_result_t la_tls_write(la_tls_conn_t *c, const uint8_t *bytes, size_t n,
                             la_buf_t *out) {
  ERR_clear_error();
  size_t written = 0;
  if (n > 0 && SSL_write_ex(c->ssl, bytes, n, &written) != 1) {
    return failed(c, "TLS");
  }
  la_tls_flush(c, out);
  return LA_TLS_OK;
}

void la_tls_shutdown(la_tls_conn_t *c, la_buf_t *out) {
  ERR_clear_error();
  if (SSL_is_init_finished(c->ssl)) {
    SSL_shutdown(c->ssl);
    la_tls_flush(c, out);
  }
  ERR_clear_error();
}

bool la_tls_peer_is(const la_tls_conn_t *c, const char *host) {
  X509 *cert = SSL_get1_peer_certificate(c->ssl);
  if (cert == NULL) {
    return false;
  }
  const bool ok =
      X509_check_host(cert, host, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                      NULL) == 1 ||
      (is_address(host) && X509_check_ip_asc(cert, host, 0) == 1);
  X509_free(cert);
  return ok;
}

const char *la_tls_why(const la_tls_conn_t *c) {
  return c->why;
}
