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
   from the stream. `*descriptor` is a new one, closed on exec, or -1 when none lies there. */
static inline ssize_t pglease_peek_descriptor(
    int socket, void *buffer, size_t capacity, int *descriptor) {
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = buffer, .iov_len = capacity};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    *descriptor = -1;
    /* MSG_CMSG_CLOEXEC is an enumerator, MSG_PEEK a macro of one: both are C's business. */
    ssize_t count;
    do {
        count = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    if (count < 0) return count;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS
            && header->cmsg_len >= CMSG_LEN(sizeof(int))) {
            memcpy(descriptor, CMSG_DATA(header), sizeof(int));
        }
    }
    return count;
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
