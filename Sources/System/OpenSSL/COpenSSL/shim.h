#pragma once
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

// Function-like macros and variadic functions are not imported into Swift: one static inline function for each use.

static inline EVP_PKEY *intercom_rsa_generate(unsigned bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits); }
static inline EVP_PKEY *intercom_ed25519_generate(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline const char *intercom_curve(int coordinate_length) {
  return coordinate_length == 32 ? "P-256" : coordinate_length == 48 ? "P-384" : coordinate_length == 66 ? "P-521" : NULL;
}
static inline EVP_PKEY *intercom_ec_generate(int coordinate_length) {
  const char *curve = intercom_curve(coordinate_length);
  return curve ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve) : NULL;
}

// OSSL_PARAM_BLD_push_* and OSSL_PARAM_construct_* keep the POINTERS to key names, strings and octets until the parameters are used. A Swift
// String passed as a C string is gone when the call returns, so everything with OSSL_PARAM stays in C.
static inline EVP_PKEY *intercom_public_key(const char *type, OSSL_PARAM_BLD *builder) {
  OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
  EVP_PKEY *key = NULL;
  if (!params || !context || EVP_PKEY_fromdata_init(context) != 1 ||
      EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
    key = NULL;
  OSSL_PARAM_free(params);
  EVP_PKEY_CTX_free(context);
  return key;
}
static inline EVP_PKEY *intercom_rsa_public(const unsigned char *n, size_t n_length, const unsigned char *e, size_t e_length) {
  BIGNUM *modulus = BN_bin2bn(n, (int)n_length, NULL), *exponent = BN_bin2bn(e, (int)e_length, NULL);
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  EVP_PKEY *key = NULL;
  if (modulus && exponent && builder && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) &&
      OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent))
    key = intercom_public_key("RSA", builder);
  OSSL_PARAM_BLD_free(builder);
  BN_free(modulus);
  BN_free(exponent);
  return key;
}
static inline EVP_PKEY *intercom_ec_public(int coordinate_length, const unsigned char *point, size_t length) {
  const char *curve = intercom_curve(coordinate_length);
  OSSL_PARAM_BLD *builder = curve ? OSSL_PARAM_BLD_new() : NULL;
  EVP_PKEY *key = NULL;
  if (builder && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) &&
      OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, length))
    key = intercom_public_key("EC", builder);
  OSSL_PARAM_BLD_free(builder);
  if (!key) return NULL;
  // fromdata refuses points off the curve; the check also finds infinity and a wrong order.
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
  if (!context || EVP_PKEY_public_check(context) != 1) {
    EVP_PKEY_free(key);
    key = NULL;
  }
  EVP_PKEY_CTX_free(context);
  return key;
}

// A big number of a key, left-padded to `length` octets; 0 when it is absent or longer.
static inline int intercom_key_number(const EVP_PKEY *key, const char *name, unsigned char *out, int length) {
  BIGNUM *number = NULL;
  int done = EVP_PKEY_get_bn_param(key, name, &number) == 1 && BN_bn2binpad(number, out, length) == length;
  BN_free(number);
  return done;
}
static inline int intercom_rsa_n(const EVP_PKEY *key, unsigned char *out, int length) {
  return intercom_key_number(key, OSSL_PKEY_PARAM_RSA_N, out, length);
}
static inline int intercom_rsa_e(const EVP_PKEY *key, unsigned char *out, int length) {
  return intercom_key_number(key, OSSL_PKEY_PARAM_RSA_E, out, length);
}
static inline int intercom_ec_x(const EVP_PKEY *key, unsigned char *out, int length) {
  return intercom_key_number(key, OSSL_PKEY_PARAM_EC_PUB_X, out, length);
}
static inline int intercom_ec_y(const EVP_PKEY *key, unsigned char *out, int length) {
  return intercom_key_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, out, length);
}

// ECDSA signatures: JOSE has r || s of fixed length (RFC 7518 §3.4), OpenSSL has DER. Both give the length written, 0 on failure.
static inline int intercom_ecdsa_to_der(const unsigned char *raw, int coordinate_length, unsigned char *out, int capacity) {
  ECDSA_SIG *signature = ECDSA_SIG_new();
  BIGNUM *r = BN_bin2bn(raw, coordinate_length, NULL), *s = BN_bin2bn(raw + coordinate_length, coordinate_length, NULL);
  int written = 0;
  if (signature && r && s && !BN_is_zero(r) && !BN_is_zero(s) && ECDSA_SIG_set0(signature, r, s) == 1) {
    r = s = NULL;  // owned by the signature now
    int needed = i2d_ECDSA_SIG(signature, NULL);
    if (needed > 0 && needed <= capacity) written = i2d_ECDSA_SIG(signature, &out);
  }
  BN_free(r);
  BN_free(s);
  ECDSA_SIG_free(signature);
  return written > 0 ? written : 0;
}
static inline int intercom_ecdsa_from_der(const unsigned char *der, long length, int coordinate_length, unsigned char *out) {
  ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, length);
  int done = signature && BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, coordinate_length) == coordinate_length &&
             BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + coordinate_length, coordinate_length) == coordinate_length;
  ECDSA_SIG_free(signature);
  return done ? 2 * coordinate_length : 0;
}

static inline int intercom_hkdf_sha256(
    const unsigned char *key, size_t key_length, const unsigned char *salt, size_t salt_length, const unsigned char *info,
    size_t info_length, unsigned char *out, size_t length) {
  EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
  EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
  unsigned char none = 0;
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key_length ? (void *)key : &none, key_length),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt_length ? (void *)salt : &none, salt_length),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info_length ? (void *)info : &none, info_length),
      OSSL_PARAM_construct_end(),
  };
  int done = context && EVP_KDF_derive(context, out, length, params) == 1;
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  return done;
}

// A one-shot HMAC. A NULL key would mean "the key of last time": an empty key is passed as no octets at a valid address.
static inline int intercom_hmac(
    const EVP_MD *digest, const unsigned char *key, int key_length, const unsigned char *message, size_t length, unsigned char *out) {
  unsigned char none = 0;
  unsigned written = 0;
  return HMAC(digest, key_length ? key : &none, key_length, length ? message : &none, length, out, &written) != NULL;
}

// ---- TLS over a socket of an event loop.
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

// A socket as a BIO that remembers whether the last recv emptied it: an edge-triggered loop has to know, and SSL_set_fd cannot tell.
struct intercom_tls_socket {
  int descriptor;
  int is_drained;
  int has_ended;
};
static inline int intercom_bio_read(BIO *bio, char *out, int length) {
  struct intercom_tls_socket *socket = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  ssize_t count;
  do count = recv(socket->descriptor, out, (size_t)length, 0);
  while (count < 0 && errno == EINTR);
  socket->is_drained = count < length;
  if (count == 0) socket->has_ended = 1;
  if (count < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
  return (int)count;
}
static inline int intercom_bio_write(BIO *bio, const char *bytes, int length) {
  struct intercom_tls_socket *socket = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  ssize_t count;
  do count = send(socket->descriptor, bytes, (size_t)length, MSG_NOSIGNAL);
  while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) BIO_set_retry_write(bio);
  return (int)count;
}
static inline long intercom_bio_control(BIO *bio, int command, long number, void *pointer) { return command == BIO_CTRL_FLUSH; }
static inline BIO_METHOD *intercom_socket_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of a loop");
  if (method && BIO_meth_set_read(method, intercom_bio_read) == 1 && BIO_meth_set_write(method, intercom_bio_write) == 1 &&
      BIO_meth_set_ctrl(method, intercom_bio_control) == 1)
    return method;
  BIO_meth_free(method);
  return NULL;
}

// Sound defaults for both sides (RFC 9325): TLS 1.2 and 1.3, forward secrecy and AEAD only, no compression, no renegotiation.
static inline int intercom_tls_defaults(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
}
static inline int intercom_tls_only_1_3(SSL_CTX *context) { return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1; }
// A refused ticket costs a full handshake, a ticket accepted for too long costs forward secrecy.
static inline void intercom_tls_tickets(SSL_CTX *context, int count, long seconds) {
  SSL_CTX_set_num_tickets(context, (size_t)count);
  SSL_CTX_set_timeout(context, seconds);
  if (count == 0) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
}
static inline void intercom_tls_on_server_name(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
  SSL_CTX_set_tlsext_servername_callback(context, callback);
  SSL_CTX_set_tlsext_servername_arg(context, argument);
}
static inline int intercom_tls_ask_for(SSL *tls, const char *name) { return (int)SSL_set_tlsext_host_name(tls, name); }
static inline int intercom_certificates_count(const STACK_OF(X509) *list) { return sk_X509_num(list); }
static inline X509 *intercom_certificate_at(const STACK_OF(X509) *list, int index) { return sk_X509_value(list, index); }
static inline STACK_OF(X509) *intercom_certificates_new(void) { return sk_X509_new_null(); }
static inline int intercom_certificates_add(STACK_OF(X509) *list, X509 *owned) { return sk_X509_push(list, owned); }
static inline void intercom_certificates_free(STACK_OF(X509) *list) { sk_X509_pop_free(list, X509_free); }
static inline int intercom_no_passphrase(char *out, int size, int writing, void *argument) { return -1; }
static inline X509 *intercom_read_certificate(BIO *bio) { return PEM_read_bio_X509(bio, NULL, intercom_no_passphrase, NULL); }
static inline EVP_PKEY *intercom_read_private_key(BIO *bio) { return PEM_read_bio_PrivateKey(bio, NULL, intercom_no_passphrase, NULL); }
static inline int intercom_error_is_end_of_pem(unsigned long code) {
  return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}
static inline int intercom_error_is_missing_certificate(unsigned long code) {
  return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
}
// Seconds since 1970 at which a certificate begins to be good, or ceases to be.
static inline int intercom_certificate_time(const X509 *certificate, int is_end, long long *seconds) {
  int days = 0, rest = 0;
  ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
  const ASN1_TIME *time = is_end ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate);
  int done = epoch && ASN1_TIME_diff(&days, &rest, epoch, time) == 1;
  ASN1_TIME_free(epoch);
  *seconds = (long long)days * 86400 + rest;
  return done;
}
// Subject alternative names: NULL when there are none.
static inline GENERAL_NAMES *intercom_certificate_names(const X509 *certificate) {
  return X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}
static inline int intercom_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
static inline void intercom_names_free(GENERAL_NAMES *names) { GENERAL_NAMES_free(names); }
// The bytes of a name, which belong to `names`: GEN_DNS or GEN_IPADD; -1 for a name of another kind.
static inline int intercom_name_at(const GENERAL_NAMES *names, int index, const unsigned char **bytes, int *length) {
  int type = -1;
  const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, index), &type);
  if (type != GEN_DNS && type != GEN_IPADD) return -1;
  *bytes = ASN1_STRING_get0_data(value);
  *length = ASN1_STRING_length(value);
  return type;
}
static inline int intercom_error_is_alert(unsigned long code) {
  return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET;
}
static inline int intercom_error_is_no_tls(unsigned long code) {
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return 0;
  int reason = ERR_GET_REASON(code);
  return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG || reason == SSL_R_HTTP_REQUEST;
}
// Leaf, chain and key of one identity for one side.
static inline int intercom_tls_use_identity(SSL_CTX *context, STACK_OF(X509) *chain, EVP_PKEY *key) {
  if (sk_X509_num(chain) < 1) return 0;
  if (SSL_CTX_use_certificate(context, sk_X509_value(chain, 0)) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1) return 0;
  for (int index = 1; index < sk_X509_num(chain); index++)
    if (SSL_CTX_add1_chain_cert(context, sk_X509_value(chain, index)) != 1) return 0;
  return SSL_CTX_check_private_key(context) == 1;
}
static inline int intercom_tls_trust(SSL_CTX *context, const STACK_OF(X509) *authorities) {
  X509_STORE *store = SSL_CTX_get_cert_store(context);
  for (int index = 0; index < sk_X509_num(authorities); index++)
    if (X509_STORE_add_cert(store, sk_X509_value(authorities, index)) != 1) return 0;
  return 1;
}
static inline int intercom_tls_announce_authorities(SSL_CTX *context, const STACK_OF(X509) *authorities) {
  for (int index = 0; index < sk_X509_num(authorities); index++)
    if (SSL_CTX_add_client_CA(context, sk_X509_value(authorities, index)) != 1) return 0;
  return 1;
}
