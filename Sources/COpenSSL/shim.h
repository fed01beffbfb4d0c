#ifndef PGLEASE_COPENSSL_SHIM_H
#define PGLEASE_COPENSSL_SHIM_H

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

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

#endif
