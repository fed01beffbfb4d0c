#ifndef PGLEASE_CLIBUV_SHIM_H
#define PGLEASE_CLIBUV_SHIM_H

#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
#include <uv.h>

/* syscall(2) is variadic, and glibc of Debian 12 offers pidfd_open to nobody else. */
static inline int pglease_pidfd_open(pid_t process_id) {
    return (int)syscall(SYS_pidfd_open, process_id, 0);
}

/* accept4(2) and struct ucred are there only with _GNU_SOURCE, which the module that owns
   <sys/socket.h> is built without. */
extern int accept4(int descriptor, struct sockaddr *address, socklen_t *length, int flags);

static inline int pglease_accept(int descriptor) {
    return accept4(descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

struct pglease_credentials {
    pid_t process_id;
    uid_t user_id;
    gid_t group_id;
};

#endif
