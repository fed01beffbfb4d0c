// SPDX-License-Identifier: Apache-2.0

#ifndef PGLEASE_CLIBUV_SHIM_H
#define PGLEASE_CLIBUV_SHIM_H

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <uv.h>

/* syscall(2) is variadic, and glibc of Debian 12 offers pidfd_open to nobody else. */
static inline int pglease_pidfd_open(pid_t process_id) {
    return (int)syscall(SYS_pidfd_open, process_id, 0);
}

/* open(2) and snprintf(3) are variadic. */
static inline int pglease_open_stat(pid_t process_id) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process_id);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* recv(2) and send(2) of glibc are points at which a thread may be cancelled, and say so before and behind each call once
   there are threads. syscall(2) is none; nobody cancels a thread here. */
static inline ssize_t pglease_receive(int socket, void *bytes, size_t count) {
    return (ssize_t)syscall(SYS_recvfrom, (long)socket, bytes, count, 0L, NULL, NULL);
}

static inline ssize_t pglease_send(int socket, const void *bytes, size_t count) {
    return (ssize_t)syscall(SYS_sendto, (long)socket, bytes, count, (long)MSG_NOSIGNAL, NULL, 0L);
}

/* Linux 6.5, and younger than the headers of Debian 12. */
static inline int pglease_so_peerpidfd(void) {
#ifdef SO_PEERPIDFD
    return SO_PEERPIDFD;
#else
    return 77;
#endif
}

/* Whether a pidfd lies in a file system of its own (Linux 6.9), where processes have inodes. */
static inline int pglease_is_pidfs(int descriptor) {
    struct statfs status;
    return fstatfs(descriptor, &status) == 0 && status.f_type == 0x50494446;
}

/* accept4(2) and struct ucred are there only with _GNU_SOURCE, which the module that owns
   <sys/socket.h> is built without. */
extern int accept4(int descriptor, struct sockaddr *address, socklen_t *length, int flags);

static inline int pglease_accept(int descriptor) {
    return accept4(descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* The CMSG_ macros are C's. The descriptor goes along with the first byte. */
static inline ssize_t pglease_send_descriptor(int socket, const void *bytes, size_t count,
                                              int descriptor) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    memset(control, 0, sizeof control);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* Several descriptors with the first byte; at most PGLEASE_MAX_DESCRIPTORS. */
#define PGLEASE_MAX_DESCRIPTORS 64

static inline ssize_t pglease_send_descriptors(int socket, const void *bytes, size_t count,
                                               const int *descriptors, size_t number) {
    char control[CMSG_SPACE(sizeof(int) * PGLEASE_MAX_DESCRIPTORS)];
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (number > PGLEASE_MAX_DESCRIPTORS) number = PGLEASE_MAX_DESCRIPTORS;
    if (number > 0) {
        struct cmsghdr *header;
        memset(control, 0, sizeof control);
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * number);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * number);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * number);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* What came along is closed on exec from the first moment. `number` is how many there is room for, and how many came. */
static inline ssize_t pglease_receive_descriptors(int socket, void *bytes, size_t count,
                                                  int *descriptors, size_t *number) {
    char control[CMSG_SPACE(sizeof(int) * PGLEASE_MAX_DESCRIPTORS)];
    struct iovec vector = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    size_t room = *number, seen = 0;
    struct cmsghdr *header;
    ssize_t result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    *number = 0;
    if (result < 0) return result;
    for (header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        size_t here, index;
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (index = 0; index < here; index++) {
            int one;
            memcpy(&one, CMSG_DATA(header) + index * sizeof(int), sizeof(int));
            if (seen < room) descriptors[seen++] = one;
            else close(one);
        }
    }
    *number = seen;
    return result;
}

/* A page of shared memory whose size nobody can change: memfd_create(2), sealed. */
static inline int pglease_page(size_t size) {
    int page = (int)syscall(SYS_memfd_create, "pglease-page", 3 /* MFD_CLOEXEC | MFD_ALLOW_SEALING */);
    if (page < 0) return -1;
    /* F_ADD_SEALS: F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW. */
    if (ftruncate(page, (off_t)size) == 0 && fcntl(page, 1033, 7) == 0) return page;
    close(page);
    return -1;
}

/* What a client rings when the broker must look at its page. */
static inline int pglease_bell(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* read(2) that never waits, whatever the flags of the description are: others share it (preadv2(2), RWF_NOWAIT). */
static inline ssize_t pglease_silence_bell(int bell) {
    unsigned long long value = 0;
    struct iovec vector = {.iov_base = &value, .iov_len = sizeof value};
    return (ssize_t)syscall(SYS_preadv2, bell, &vector, 1, -1L, -1L, 8);
}

/* A memory barrier in every thread of every process that has registered for it, before this returns: membarrier(2),
   MEMBARRIER_CMD_GLOBAL_EXPEDITED. */
static inline int pglease_barrier(void) {
    return (int)syscall(SYS_membarrier, 2, 0, 0);
}

/* Swift keeps fork(2) from its programs: between it and exec(3) a runtime with threads is half a runtime. A daemon
   forks before there are threads. */
static inline pid_t pglease_fork(void) {
    return fork();
}

struct pglease_credentials {
    pid_t process_id;
    uid_t user_id;
    gid_t group_id;
};

#endif
