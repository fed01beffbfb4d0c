// SPDX-License-Identifier: Apache-2.0

#ifndef PGLEASE_CLDAP_SHIM_H
#define PGLEASE_CLDAP_SHIM_H

#include <ldap.h>
#include <sys/socket.h>
#include <sys/time.h>

/* Casts of negative numbers, which are not imported. */
static const int pglease_ldap_timeout = LDAP_TIMEOUT;
static const int pglease_ldap_server_down = LDAP_SERVER_DOWN;
static const int pglease_ldap_no_memory = LDAP_NO_MEMORY;

/* A read or a write of the connection's socket ends after so many seconds, whatever libldap does about it: a
   server that sends half a message would hold the thread for ever. */
static inline int pglease_ldap_bound(LDAP *connection, long seconds) {
    int descriptor = -1;
    struct timeval time = {seconds, 0};
    if (ldap_get_option(connection, LDAP_OPT_DESC, &descriptor) != LDAP_OPT_SUCCESS) return -1;
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) != 0) return -1;
    return setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* A signal to the process ends no operation. */
static inline int pglease_ldap_go_on_after_signals(LDAP *connection) {
    return ldap_set_option(connection, LDAP_OPT_RESTART, LDAP_OPT_ON);
}

/* On and off are addresses that nothing is read from. */
static inline int pglease_ldap_wait_in_handshakes(LDAP *connection, int waits) {
    return ldap_set_option(
        connection, LDAP_OPT_CONNECT_ASYNC, waits ? LDAP_OPT_ON : LDAP_OPT_OFF);
}

#endif
