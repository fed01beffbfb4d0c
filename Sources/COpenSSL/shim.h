// SPDX-License-Identifier: Apache-2.0

#ifndef PGLEASE_COPENSSL_SHIM_H
#define PGLEASE_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

/* SSL_set_mode is a macro. Partial writes let SSL_write return after each record that went out;
   a moving buffer lets the relay keep what is unsent wherever it likes. */
static inline void pglease_ssl_allow_partial_writes(SSL *ssl) {
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* ERR_GET_REASON is a macro or an inline function, by version. */
static inline int pglease_error_is_unexpected_eof(unsigned long error) {
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    return ERR_GET_LIB(error) == ERR_LIB_SSL
        && ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
#else
    (void)error;
    return 0;
#endif
}

/* What every context for clients has; most of these are macros. An idle session keeps no buffers, a
   read takes what the socket has in one call, messages of the handshake's kind return to the caller
   (AUTO_RETRY) instead of being dealt with for as long as the peer sends them, and nothing is
   resumed: PostgreSQL does not, either. */
static inline void pglease_ssl_prepare_server(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                  | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET
                                     | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
}

static inline int pglease_ssl_set_groups(SSL_CTX *context, const char *groups) {
    return SSL_CTX_set1_groups_list(context, groups) == 1;
}

/* 0: none, 1: as strong as the certificate, 2: 1024 bits. */
static inline void pglease_ssl_set_dh(SSL_CTX *context, int kind) {
    SSL_CTX_set_dh_auto(context, kind);
}

static inline int pglease_ssl_negotiated_group(SSL *ssl) { return SSL_get_negotiated_group(ssl); }

/* Bits of our own Diffie-Hellman key; 0 if another kind of key was exchanged. */
static inline int pglease_ssl_dh_bits(SSL *ssl) {
    EVP_PKEY *key = NULL;
    int bits = 0;
    if (SSL_get_tmp_key(ssl, &key) == 1 && key) {
        if (EVP_PKEY_get_base_id(key) == EVP_PKEY_DH) bits = EVP_PKEY_get_bits(key);
        EVP_PKEY_free(key);
    }
    return bits;
}

static inline void pglease_bio_retry_read(BIO *bio) {
    BIO_clear_retry_flags(bio);
    BIO_set_retry_read(bio);
}

static inline void pglease_bio_retry_write(BIO *bio) {
    BIO_clear_retry_flags(bio);
    BIO_set_retry_write(bio);
}

static inline void pglease_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

#endif
