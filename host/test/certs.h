/* Certificates for tests, made on the spot: an authority and what it has
 * signed, as PEM files in a directory of their own. */
#ifndef LA_TEST_CERTS_H
#define LA_TEST_CERTS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct certs {
  char dir[64];
  EVP_PKEY *ca_key;
  X509 *ca;
} certs_t;

static inline void certs_path(const certs_t *c, const char *file, char *out) {
  snprintf(out, 160, "%s/%s", c->dir, file);
}

static inline void certs_write(const certs_t *c, const char *file, X509 *cert,
                               EVP_PKEY *key) {
  char path[160];
  certs_path(c, file, path);
  FILE *f = fopen(path, "w");
  if (cert != NULL) {
    PEM_write_X509(f, cert);
  } else {
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
  }
  fclose(f);
}

static inline X509 *certs_make(const char *name, const char *hosts,
                               EVP_PKEY *key, X509 *issuer,
                               EVP_PKEY *issuer_key) {
  X509 *x = X509_new();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), rand());
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_set_pubkey(x, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             (const unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(
      x, X509_get_subject_name(issuer != NULL ? issuer : x));
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer != NULL ? issuer : x, x, NULL, NULL, 0);
  X509_EXTENSION *e =
      hosts != NULL
          ? X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, hosts)
          : X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints,
                                "critical,CA:TRUE");
  X509_add_ext(x, e, -1);
  X509_EXTENSION_free(e);
  X509_sign(x, issuer_key, EVP_sha256());
  return x;
}

/* An authority: DIR/<name>-ca.pem. */
static inline void certs_open(certs_t *c, const char *name) {
  char file[64];
  if (c->dir[0] == '\0') {
    strcpy(c->dir, "/tmp/certs-XXXXXX");
    if (mkdtemp(c->dir) == NULL) {
      abort();
    }
  }
  c->ca_key = EVP_EC_gen("P-256");
  c->ca = certs_make(name, NULL, c->ca_key, NULL, c->ca_key);
  snprintf(file, sizeof file, "%s-ca.pem", name);
  certs_write(c, file, c->ca, NULL);
}

/* DIR/<name>.pem and DIR/<name>-key.pem for hosts such as
 * "DNS:localhost,IP:127.0.0.1". */
static inline void certs_add(const certs_t *c, const char *name,
                             const char *hosts) {
  char file[64];
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *x = certs_make(name, hosts, key, c->ca, c->ca_key);
  snprintf(file, sizeof file, "%s.pem", name);
  certs_write(c, file, x, NULL);
  snprintf(file, sizeof file, "%s-key.pem", name);
  certs_write(c, file, NULL, key);
  X509_free(x);
  EVP_PKEY_free(key);
}

static inline void certs_close(certs_t *c) {
  X509_free(c->ca);
  EVP_PKEY_free(c->ca_key);
}

static inline void certs_remove(const certs_t *c, const char *const *names,
                                size_t n) {
  for (size_t i = 0; i < n; i++) {
    char path[160];
    certs_path(c, names[i], path);
    unlink(path);
  }
  rmdir(c->dir);
}

#endif
