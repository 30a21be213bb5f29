/* The floor: the least that a WebSocket echo server and its client can cost with epoll, one thread,
 * one buffer, and no library. They keep to RFC 6455 as far as the benchmarks go, and no further.
 *
 *   floor serve [STALL EVERY]                    prints `listening PORT`; does nothing for STALL ms in
 *                                                every EVERY ms, from the first connection on
 *   floor delay FROM TO FILE                     answers after FROM to TO µs, evenly spread by their
 *                                                logarithms; when all have left, writes to FILE how
 *                                                many ns each answer was really held back
 *   floor bytes                                  echoes TCP, and knows nothing of WebSocket
 *   floor drive PORT CONNECTIONS SIZE WINDOW MESSAGES [text]
 *                                                WINDOW messages in flight on each connection;
 *                                                prints JSON: messages, CPU and wall seconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A frame of 1 MiB fits. */
enum { BUFFER = (1 << 20) + (1 << 17), EVENTS = 256 };

static uint8_t in[BUFFER], out[2 * BUFFER + (1 << 20)];

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* SHA-1 of one block or two (RFC 3174), and base64: for Sec-WebSocket-Accept only. */
static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1(const uint8_t *data, size_t len, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[128] = {0};
    size_t blocks = (len + 9 + 63) / 64;
    memcpy(padded, data, len);
    padded[len] = 0x80;
    for (int i = 0; i < 8; i++) padded[blocks * 64 - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    for (size_t b = 0; b < blocks; b++) {
        uint32_t w[80], a = h[0], c1 = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            const uint8_t *p = padded + b * 64 + i * 4;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (c1 & c) | (~c1 & d) : i < 40 ? c1 ^ c ^ d
                       : i < 60 ? (c1 & c) | (c1 & d) | (c & d) : c1 ^ c ^ d;
            uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
            uint32_t t = rol(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rol(c1, 30), c1 = a, a = t;
        }
        h[0] += a, h[1] += c1, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void accept_key(const char *key, size_t len, char text[29]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t data[100], d[21] = {0};
    memcpy(data, key, len);
    memcpy(data + len, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1(data, len + 36, d);
    for (int i = 0; i < 7; i++) {
        uint32_t v = (uint32_t)d[3 * i] << 16 | (uint32_t)d[3 * i + 1] << 8 | d[3 * i + 2];
        for (int j = 0; j < 4; j++) text[4 * i + j] = digits[v >> (18 - 6 * j) & 63];
    }
    text[27] = '=', text[28] = 0;
}

/* A connection: what is left of a frame, and for the server whether it has shaken hands. */
struct peer {
    int fd, open;
    size_t have;
    uint8_t *rest;
};

static struct peer *peers[1 << 20];

static void tune(int fd) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); }

static void watch(int epoll, struct peer *p) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &e)) die("epoll_ctl");
}

static void send_all(int fd, const uint8_t *data, size_t len) {
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (n < 0) return;
        data += n, len -= (size_t)n;
    }
}

static size_t head(uint8_t *p, uint8_t first, size_t len, uint8_t masked) {
    p[0] = first;
    if (len < 126) { p[1] = masked | (uint8_t)len; return 2; }
    if (len < 65536) { p[1] = masked | 126, p[2] = (uint8_t)(len >> 8), p[3] = (uint8_t)len; return 4; }
    p[1] = masked | 127;
    for (int i = 0; i < 8; i++) p[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
    return 10;
}

/* The length of the frame at `p` with its head, or 0 if it is not whole. */
static size_t frame(const uint8_t *p, size_t have, size_t *at) {
    if (have < 2) return 0;
    size_t len = p[1] & 127, skip = 2;
    if (len == 126) {
        if (have < 4) return 0;
        len = (size_t)p[2] << 8 | p[3], skip = 4;
    } else if (len == 127) {
        if (have < 10) return 0;
        len = 0, skip = 10;
        for (int i = 0; i < 8; i++) len = len << 8 | p[2 + i];
    }
    *at = skip + (p[1] & 128 ? 4 : 0);
    return have < *at + len ? 0 : *at + len;
}

static void mask(uint8_t *data, size_t len, const uint8_t key[4]) {
    uint32_t k;
    memcpy(&k, key, 4);
    size_t i = 0;
    for (; i + 4 <= len; i += 4) {
        uint32_t v;
        memcpy(&v, data + i, 4);
        v ^= k;
        memcpy(data + i, &v, 4);
    }
    for (; i < len; i++) data[i] ^= key[i & 3];
}

/* Where what was left of a frame is, or else where all read. */
static uint8_t *buffer(struct peer *p) { return p->have ? p->rest : in; }

/* Reads after what was left; returns all there is, or 0 at the end. */
static size_t fill(struct peer *p) {
    ssize_t n = read(p->fd, buffer(p) + p->have, BUFFER - p->have);
    if (n < 0 && errno == EAGAIN) return p->have ? p->have : (size_t)-1;
    return n <= 0 ? 0 : p->have + (size_t)n;
}

static void keep(struct peer *p, const uint8_t *from, size_t len) {
    p->have = len;
    if (!len || from == p->rest) return;
    if (!p->rest) p->rest = malloc(BUFFER);
    memmove(p->rest, from, len);
}

static int greet(struct peer *p, size_t total) {
    uint8_t *data = buffer(p);
    data[total < BUFFER ? total : BUFFER - 1] = 0;
    char *end = strstr((char *)data, "\r\n\r\n"), *key = strcasestr((char *)data, "\r\nSec-WebSocket-Key:");
    if (!end || !key) return keep(p, data, total), 1;
    key += 20;
    while (*key == ' ') key++;
    char accept[29], answer[200];
    accept_key(key, strcspn(key, "\r "), accept);
    int len = sprintf(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    send_all(p->fd, (uint8_t *)answer, (size_t)len);
    p->open = 1, p->have = 0;
    return 1;
}

static int echo(struct peer *p) {
    size_t total = fill(p), used = 0, made = 0, at, len;
    if (total == (size_t)-1) return 1;
    if (!total) return 0;
    if (!p->open) return greet(p, total);
    uint8_t *data = buffer(p);
    while ((len = frame(data + used, total - used, &at))) {
        uint8_t *f = data + used, opcode = f[0] & 15;
        mask(f + at, len - at, f + at - 4);
        if (opcode == 9) f[0] = 0x8a;
        made += head(out + made, f[0], len - at, 0);
        memcpy(out + made, f + at, len - at);
        made += len - at, used += len;
        if (opcode == 8) { send_all(p->fd, out, made); return 0; }
    }
    if (made) send_all(p->fd, out, made);
    keep(p, data + used, total - used);
    return 1;
}

static int echo_bytes(struct peer *p) {
    size_t total = fill(p);
    if (total == (size_t)-1) return 1;
    send_all(p->fd, in, total);
    return total > 0;
}

static int64_t ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t ms(void) { return ns() / 1000000; }

/* Sleeps if it is time to: at the end of each period. */
static void stall(int64_t start, int64_t length, int64_t every) {
    int64_t at = (ms() - start) % every;
    if (at >= every - length) usleep((useconds_t)(every - at) * 1000);
}

static struct peer self;

/* Binds, and says where. */
static int listening(int epoll) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    if (bind(listener, (struct sockaddr *)&at, len) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&at, &len);
    printf("listening %d\n", ntohs(at.sin_port));
    fflush(stdout);
    self.fd = listener;
    watch(epoll, &self);
    return listener;
}

/* Accepts all that wait; returns how many these were. */
static int welcome(int epoll, int listener) {
    int fd, count = 0;
    for (; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0; count++) {
        struct peer *new = calloc(1, sizeof *new);
        new->fd = fd;
        tune(fd);
        watch(epoll, new);
    }
    return count;
}

static _Noreturn void serve(int64_t length, int64_t every, int (*answer)(struct peer *)) {
    int epoll = epoll_create1(0), listener = listening(epoll);
    int64_t start = 0;
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        if (length && start) stall(start, length, every);
        if (!start) start = ms();
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (p == &self) {
                welcome(epoll, listener);
            } else if (!answer(p)) {
                close(p->fd);
                free(p->rest);
                free(p);
            }
        }
    }
}

/* An answer that is held back. */
struct held {
    int64_t came, due;
    struct peer *peer;
    size_t len;
    uint8_t frame[256];
};

/* A heap, the earliest first, and how long each was held. */
static struct held *heap;
static int64_t *record;
static size_t holding, recorded, room, rooms;

static void hold(struct held h) {
    if (holding == room) heap = realloc(heap, (room = room ? 2 * room : 1024) * sizeof *heap);
    size_t at = holding++;
    for (; at && heap[(at - 1) / 2].due > h.due; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = h;
}

static struct held earliest(void) {
    struct held first = heap[0], last = heap[--holding];
    size_t at = 0, below;
    while ((below = 2 * at + 1) < holding) {
        if (below + 1 < holding && heap[below + 1].due < heap[below].due) below++;
        if (heap[below].due >= last.due) break;
        heap[at] = heap[below], at = below;
    }
    heap[at] = last;
    return first;
}

/* Multiples of the golden ratio are spread so evenly that few of them have the quantiles of many. */
static double delay_of(size_t number, double from, double to) {
    return from * pow(to / from, fmod((double)number * 0.6180339887498949 + 0.5, 1));
}

/* As echo, but later; `drawn` messages came before. */
static int take(struct peer *p, size_t *drawn, double from, double to) {
    size_t total = fill(p), used = 0, at, len;
    int64_t came = ns();
    if (total == (size_t)-1) return 1;
    if (!total) return 0;
    if (!p->open) return greet(p, total);
    uint8_t *data = buffer(p);
    while ((len = frame(data + used, total - used, &at))) {
        uint8_t *f = data + used, opcode = f[0] & 15;
        struct held h = {.came = came, .due = came, .peer = p};
        if (len - at > sizeof h.frame - 4) die("a message that is too long");
        mask(f + at, len - at, f + at - 4);
        h.len = head(h.frame, f[0], len - at, 0);
        memcpy(h.frame + h.len, f + at, len - at);
        h.len += len - at, used += len;
        if (opcode == 8) { send_all(p->fd, h.frame, h.len); return 0; }
        h.due += (int64_t)(1000 * delay_of((*drawn)++, from, to));
        hold(h);
    }
    keep(p, data + used, total - used);
    return 1;
}

static void let_go(struct held h) {
    if (recorded == rooms) record = realloc(record, (rooms = rooms ? 2 * rooms : 1024) * sizeof *record);
    record[recorded++] = ns() - h.came;
    if (h.peer->fd >= 0) send_all(h.peer->fd, h.frame, h.len);
}

static int delay(double from, double to, const char *file) {
    int epoll = epoll_create1(0), listener = listening(epoll), open = 0;
    size_t drawn = 0;
    prctl(PR_SET_TIMERSLACK, 1);
    for (int begun = 0; !begun || open; begun |= open) {
        struct epoll_event events[EVENTS];
        int64_t left = holding ? heap[0].due - ns() : 0;
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        int n = holding && left <= 0 ? 0 : epoll_pwait2(epoll, events, EVENTS, holding ? &wait : 0, 0);
        while (holding && heap[0].due <= ns()) let_go(earliest());
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (p == &self) {
                open += welcome(epoll, listener);
            } else if (!take(p, &drawn, from, to)) {
                close(p->fd);
                p->fd = -1, open--;
            }
        }
    }
    FILE *to_file = fopen(file, "w");
    if (!to_file) die(file);
    for (size_t i = 0; i < recorded; i++) fprintf(to_file, "%lld\n", (long long)record[i]);
    return fclose(to_file);
}

static uint64_t state = 88172645463325252u;
static uint32_t random32(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)state;
}

static size_t put(uint8_t *to, uint8_t first, const uint8_t *payload, size_t size) {
    size_t n = head(to, first, size, 128);
    uint32_t key = random32();
    memcpy(to + n, &key, 4);
    memcpy(to + n + 4, payload, size);
    mask(to + n + 4, size, to + n);
    return n + 4 + size;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static int drive(int port, int connections, size_t size, int window, long messages, uint8_t first) {
    int epoll = epoll_create1(0);
    uint8_t *payload = malloc(size + 1);
    memset(payload, 'x', size);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char ask[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (int i = 0; i < connections; i++) {
        struct peer *p = peers[i] = calloc(1, sizeof *p);
        p->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(p->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        tune(p->fd);
        send_all(p->fd, (const uint8_t *)ask, sizeof ask - 1);
        size_t have = 0;
        do {
            ssize_t n = read(p->fd, in + have, 1);
            if (n <= 0) die("handshake");
            have += (size_t)n;
        } while (have < 4 || memcmp(in + have - 4, "\r\n\r\n", 4));
        watch(epoll, p);
    }
    struct rusage before, after;
    struct timespec t0, t1;
    getrusage(RUSAGE_SELF, &before);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    long sent = 0, received = 0;
    for (int i = 0; i < connections; i++) {
        size_t made = 0;
        for (int j = 0; j < window && sent < messages; j++, sent++) made += put(out + made, first, payload, size);
        send_all(peers[i]->fd, out, made);
    }
    while (received < messages) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            size_t total = fill(p), used = 0, made = 0, at, len;
            if (!total) die("the server has gone");
            uint8_t *data = buffer(p);
            while ((len = frame(data + used, total - used, &at))) {
                used += len, received++;
                if (sent < messages) made += put(out + made, first, payload, size), sent++;
            }
            if (made) send_all(p->fd, out, made);
            keep(p, data + used, total - used);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    getrusage(RUSAGE_SELF, &after);
    double cpu = seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) - seconds(before.ru_stime);
    double wall = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
    printf("{\"messages\":%ld,\"cpu_s\":%.6f,\"wall_s\":%.6f}\n", received, cpu, wall);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "serve")) serve(0, 1, echo);
    if (argc == 2 && !strcmp(argv[1], "bytes")) serve(0, 1, echo_bytes);
    if (argc == 4 && !strcmp(argv[1], "serve")) serve(atol(argv[2]), atol(argv[3]), echo);
    if (argc == 5 && !strcmp(argv[1], "delay")) return delay(atof(argv[2]), atof(argv[3]), argv[4]);
    if ((argc == 7 || argc == 8) && !strcmp(argv[1], "drive"))
        return drive(atoi(argv[2]), atoi(argv[3]), (size_t)atol(argv[4]), atoi(argv[5]), atol(argv[6]),
                     argc == 8 ? 0x81 : 0x82);
    fprintf(stderr, "floor serve [STALL EVERY] | floor bytes | floor delay FROM TO FILE | "
                    "floor drive PORT CONNECTIONS SIZE WINDOW MESSAGES [text]\n");
    return 2;
}
