// SPDX-License-Identifier: Apache-2.0

#ifndef PGLEASE_CLIBPQ_SHIM_H
#define PGLEASE_CLIBPQ_SHIM_H

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* recvmsg(2), whose control messages are read by macros. Looks at what has come without taking it
   from the stream. `*number` is how many descriptors there is room for, then how many lie there; each
   is a new one, closed on exec. */
static inline ssize_t pglease_peek_descriptors(
    int socket, void *buffer, size_t capacity, int *descriptors, size_t *number) {
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    size_t room = *number;
    struct iovec part = {.iov_base = buffer, .iov_len = capacity};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    *number = 0;
    /* MSG_CMSG_CLOEXEC is an enumerator, MSG_PEEK a macro of one: both are C's business. */
    ssize_t count;
    do {
        count = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    if (count < 0) return count;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < here; index++) {
            int one;
            memcpy(&one, CMSG_DATA(header) + index * sizeof(int), sizeof(int));
            if (*number < room) descriptors[(*number)++] = one;
            else close(one);
        }
    }
    return count;
}

/* One byte of a page that another process has, too: written, and seen to be by whoever has registered
   writers wait with membarrier(2), before anything that follows is read. */
static inline void pglease_store_byte(unsigned char *byte, unsigned char value) {
    __atomic_store_n(byte, value, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline unsigned char pglease_load_byte(const unsigned char *byte) {
    return __atomic_load_n(byte, __ATOMIC_ACQUIRE);
}

/* membarrier(2), MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: this process's threads are among those. */
static inline int pglease_register_for_barriers(void) {
    return (int)syscall(SYS_membarrier, 4, 0, 0);
}

/* dup3(2), which the headers show only with _GNU_SOURCE. Closed on exec from the first moment. */
extern int dup3(int from, int to, int flags);

static inline int pglease_replace_descriptor(int from, int to) {
    return dup3(from, to, O_CLOEXEC);
}

/* eventfd(2): the module map of Swift's C library leaves it out. */
static inline int pglease_make_eventfd(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* A thread that nobody joins. 0, or the error number of pthread_create(3). */
static inline int pglease_start_thread(void *(*body)(void *), void *context) {
    pthread_attr_t attributes;
    pthread_t thread;
    int status = pthread_attr_init(&attributes);
    if (status != 0) return status;
    status = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (status == 0) status = pthread_create(&thread, &attributes, body, context);
    pthread_attr_destroy(&attributes);
    return status;
}

/* gettid(2), by number: glibc has a function for it since 2.30. */
static inline int pglease_thread_id(void) {
    return (int)syscall(SYS_gettid);
}

#endif
