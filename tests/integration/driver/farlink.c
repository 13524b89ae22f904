/* SPDX-License-Identifier: Apache-2.0 */
/* A link to far away: two TUN devices, near0 and far0, and what goes into one comes out of the
 * other later. Whoever starts it moves the devices into network namespaces.
 *
 *     farlink MICROSECONDS PARTS-PER-MILLION    one way; of packets, are lost
 *
 * Says "ready" and runs until it is killed. Which packets are lost is the same in each run. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    PACKETS = 16384, /* under way in one direction */
    PACKET_MAX = 2048,
    READS = 64 /* in a row from one device */
};

struct packet {
    int64_t due; /* ns */
    ssize_t len;
    char bytes[PACKET_MAX];
};

struct way {
    int in, out;
    unsigned first, n;
    struct packet *ring;
};

static struct packet rings[2][PACKETS];
static int64_t delay;
static uint64_t lost;
static uint64_t seed = 88172645463325252u;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int open_tun(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    memcpy(r.ifr_name, name, strlen(name));
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0)
        return fd;
    fprintf(stderr, "%s: %s\n", name, strerror(errno));
    exit(1);
}

static void take(struct way *w)
{
    for (int i = 0; i < READS && w->n < PACKETS; i++) {
        struct packet *p = &w->ring[(w->first + w->n) % PACKETS];
        p->len = read(w->in, p->bytes, sizeof(p->bytes));
        if (p->len <= 0)
            return;
        p->due = now_ns() + delay;
        if (next_random() % 1000000 >= lost)
            w->n++;
    }
}

/* What is due leaves. When the next is: never, or that time. */
static int64_t give(struct way *w)
{
    int64_t now = now_ns();
    for (; w->n > 0; w->n--, w->first = (w->first + 1) % PACKETS) {
        struct packet *p = &w->ring[w->first];
        if (p->due > now)
            return p->due;
        if (write(w->out, p->bytes, (size_t)p->len) < 0 && errno == EAGAIN)
            return now + 1000000;
    }
    return INT64_MAX;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    delay = atoll(argv[1]) * 1000;
    lost = (uint64_t)atoll(argv[2]);
    int near = open_tun("near0"), far = open_tun("far0");
    struct way ways[2] = {{.in = near, .out = far}, {.in = far, .out = near}};
    for (int i = 0; i < 2; i++)
        ways[i].ring = rings[i];
    puts("ready");
    fflush(stdout);
    for (;;) {
        int64_t a = give(&ways[0]), b = give(&ways[1]);
        int64_t at = a < b ? a : b;
        int64_t ns = at - now_ns();
        struct timespec t = {.tv_nsec = ns < 0 ? 0 : ns > 500000000 ? 500000000 : ns};
        struct pollfd fds[2] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
        ppoll(fds, 2, &t, NULL);
        for (int i = 0; i < 2; i++)
            take(&ways[i]);
    }
}
