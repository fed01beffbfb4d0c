// SPDX-License-Identifier: Apache-2.0

#ifndef PGLEASE_CMICROHTTPD_SHIM_H
#define PGLEASE_CMICROHTTPD_SHIM_H

#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* MHD_start_daemon(3) is variadic. No thread of its own, and no listening socket: the caller polls its
   epoll descriptor and adds the connections. */
static inline struct MHD_Daemon *pglease_http_start(
    MHD_AccessHandlerCallback answer,
    MHD_NotifyConnectionCallback changed, void *context, unsigned int connections,
    unsigned int timeout_seconds, size_t memory) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, answer, context,
        MHD_OPTION_NOTIFY_CONNECTION, changed,
        context, MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT,
        timeout_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_END);
}

static inline int pglease_http_epoll_descriptor(struct MHD_Daemon *daemon) {
    const union MHD_DaemonInfo *information =
        MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return information == NULL ? -1 : information->epoll_fd;
}

static inline int pglease_http_descriptor(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *information =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return information == NULL ? -1 : information->connect_fd;
}

/* The names of these cases do not come through the importer. */
static inline bool pglease_http_is_start(enum MHD_ConnectionNotificationCode change) {
    return change == MHD_CONNECTION_NOTIFY_STARTED;
}

static inline const char *pglease_http_header(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* A copy of the bytes. */
static inline struct MHD_Response *pglease_http_response(const void *bytes, size_t count) {
    return MHD_create_response_from_buffer(count, (void *)bytes, MHD_RESPMEM_MUST_COPY);
}

/* Takes the descriptor over, also where it fails. It is named a Unix socket, so that the library
   leaves TCP's options alone. */
static inline enum MHD_Result pglease_http_add(struct MHD_Daemon *daemon, int descriptor) {
    struct sockaddr address;
    memset(&address, 0, sizeof address);
    address.sa_family = AF_UNIX;
    return MHD_add_connection(daemon, descriptor, &address, sizeof address);
}

#endif
