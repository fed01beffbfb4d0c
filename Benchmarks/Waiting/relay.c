// SPDX-License-Identifier: Apache-2.0
// A relay without a pool: each client has a server connection of its own, bytes pass unread. One binary, two ways to
// wait and to move: epoll with read and write, or io_uring with one io_uring_enter a turn.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SIZE = 16384 };

struct end {
    int fd;
    struct end *peer;
    int group;       // its provided buffers, in the multishot way
    char *buffer;
};

static volatile sig_atomic_t stopped;
static void stop(int s) { (void)s; stopped = 1; }

static int listener(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 1024)) { perror("listen"); exit(1); }
    return fd;
}
static int connect_to(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (void *)&a, sizeof a)) { perror("connect"); exit(1); }
    return fd;
}
static void pair(int client, const char *target, struct end **c, struct end **s) {
    *c = calloc(1, sizeof **c); *s = calloc(1, sizeof **s);
    (*c)->fd = client; (*s)->fd = connect_to(target);
    (*c)->peer = *s; (*s)->peer = *c;
    (*c)->buffer = malloc(SIZE); (*s)->buffer = malloc(SIZE);
}
static void report(void) {
    struct rusage u; getrusage(RUSAGE_SELF, &u);
    fprintf(stderr, "%ld.%06ld %ld.%06ld\n", u.ru_utime.tv_sec, u.ru_utime.tv_usec, u.ru_stime.tv_sec, u.ru_stime.tv_usec);
}

static void by_epoll(int l, const char *target) {
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, es[1024];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    while (!stopped) {
        int n = epoll_wait(ep, es, 1024, 1000);
        for (int i = 0; i < n; i++) {
            struct end *x = es[i].data.ptr;
            if (!x) {
                int c = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (c < 0) continue;
                struct end *a, *b; pair(c, target, &a, &b);
                fcntl(b->fd, F_SETFL, O_NONBLOCK);
                e.events = EPOLLIN; e.data.ptr = a; epoll_ctl(ep, EPOLL_CTL_ADD, a->fd, &e);
                e.data.ptr = b; epoll_ctl(ep, EPOLL_CTL_ADD, b->fd, &e);
                continue;
            }
            ssize_t k = read(x->fd, x->buffer, SIZE);
            if (k < 0 && errno == EAGAIN) continue;
            if (k <= 0) {
                epoll_ctl(ep, EPOLL_CTL_DEL, x->fd, NULL); shutdown(x->peer->fd, SHUT_RDWR); continue;
            }
            if (write(x->peer->fd, x->buffer, k) != k) { fprintf(stderr, "short write\n"); exit(1); }
        }
    }
}

static struct io_uring ring;
static struct io_uring_sqe *sqe(void) {
    struct io_uring_sqe *s = io_uring_get_sqe(&ring);
    if (!s) { io_uring_submit(&ring); s = io_uring_get_sqe(&ring); }
    return s;
}
static void arm(struct end *x) {
    struct io_uring_sqe *s = sqe();
    io_uring_prep_recv(s, x->fd, x->buffer, SIZE, 0);
    io_uring_sqe_set_data(s, x);
}
static void arm_accept(int l) {
    struct io_uring_sqe *s = sqe();
    io_uring_prep_multishot_accept(s, l, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(s, NULL);
}
static void begin(void) {
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 8192};
    int r = io_uring_queue_init_params(2048, &ring, &p);
    if (r < 0) { fprintf(stderr, "io_uring: %s\n", strerror(-r)); exit(2); }
}
static void by_uring(int l, const char *target) {
    begin();
    arm_accept(l);
    while (!stopped) {
        int r = io_uring_submit_and_wait(&ring, 1);
        if (r < 0 && r != -EINTR) { fprintf(stderr, "enter: %s\n", strerror(-r)); exit(1); }
        struct io_uring_cqe *c; unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, c) {
            seen++;
            struct end *x = io_uring_cqe_get_data(c);
            if (!x) {
                if (c->res >= 0) { struct end *a, *b; pair(c->res, target, &a, &b); arm(a); arm(b); }
                if (!(c->flags & IORING_CQE_F_MORE)) arm_accept(l);
                continue;
            }
            if (c->res <= 0) { if (c->res != -ECANCELED) shutdown(x->peer->fd, SHUT_RDWR); continue; }
            struct io_uring_sqe *s = sqe();
            io_uring_prep_send(s, x->peer->fd, x->buffer, c->res, MSG_WAITALL);
            s->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
            io_uring_sqe_set_data(s, x);
            arm(x);
        }
        io_uring_cq_advance(&ring, seen);
    }
}
// Waits by io_uring (multishot polls), moves by read and write: what a loop that only changes its waiting would have.
static void arm_poll(struct end *x) {
    struct io_uring_sqe *s = sqe();
    io_uring_prep_poll_multishot(s, x->fd, POLLIN);
    io_uring_sqe_set_data(s, x);
}
static void by_poll(int l, const char *target) {
    begin();
    arm_accept(l);
    while (!stopped) {
        io_uring_submit_and_wait(&ring, 1);
        struct io_uring_cqe *c; unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, c) {
            seen++;
            struct end *x = io_uring_cqe_get_data(c);
            if (!x) {
                if (c->res >= 0) { struct end *a, *b; pair(c->res, target, &a, &b); arm_poll(a); arm_poll(b); }
                if (!(c->flags & IORING_CQE_F_MORE)) arm_accept(l);
                continue;
            }
            if (c->res < 0) continue;
            ssize_t k = recv(x->fd, x->buffer, SIZE, MSG_DONTWAIT);
            if (k < 0 && errno == EAGAIN) continue;
            if (k <= 0) { shutdown(x->peer->fd, SHUT_RDWR); close(x->fd); continue; }
            if (send(x->peer->fd, x->buffer, k, 0) != k) continue;
            if (!(c->flags & IORING_CQE_F_MORE)) arm_poll(x);
        }
        io_uring_cq_advance(&ring, seen);
    }
}

int main(int n, char **v) {
    signal(SIGPIPE, SIG_IGN); signal(SIGINT, stop);
    struct sigaction a = {.sa_handler = stop}; sigaction(SIGTERM, &a, NULL);
    if (n != 4) return 64;
    int l = listener(v[2]);
    if (!strcmp(v[1], "epoll")) by_epoll(l, v[3]);
    else if (!strcmp(v[1], "uring")) by_uring(l, v[3]);
    else by_poll(l, v[3]);
    report();
    return 0;
}
