/* SPDX-License-Identifier: Apache-2.0 */
/* Making the namespaces: see capture_net.h. A route of type local hands whatever is sent to an
 * address to the sockets of this machine that are bound to it, or to any; with `default` that is
 * every address there is. */
#include "capture_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char port_start[] = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
static const char ip6_off[] = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";

/* ---- users */

/* To make a network namespace, to set it up, and to listen there on ports below 1024. */
static bool net_has_right(void)
{
    const uint32_t wanted = 1U << CAP_SYS_ADMIN | 1U << CAP_NET_ADMIN | 1U << CAP_NET_BIND_SERVICE;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & wanted) == wanted;
}

/* In one write, as the files of /proc want it. */
static bool net_write(const char *path, const char *text)
{
    ssize_t n = (ssize_t)strlen(text);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, (size_t)n) == n;
    int cause = errno;
    close(fd);
    errno = cause;
    return ok;
}

/* Terminated; "" where it cannot be read. */
static void net_read(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    text[n < 0 ? 0 : n] = '\0';
    if (fd >= 0)
        close(fd);
}

static bool net_map(const char *path, unsigned id)
{
    char line[64];
    snprintf(line, sizeof(line), "%u %u 1\n", id, id);
    return net_write(path, line);
}

/* The ids are asked for before: inside, they are nobody's until they are mapped. Without denying
 * setgroups(2) nobody may map a group; kernels before 3.19 do not know the file. */
static bool net_map_ids(unsigned user, unsigned group)
{
    if (!net_write("/proc/self/setgroups", "deny") && errno != ENOENT)
        return false;
    return net_map("/proc/self/uid_map", user) && net_map("/proc/self/gid_map", group);
}

/* ---- routes */

/* Sends one request and waits for its answer. False with errno. */
static bool net_ask(int fd, struct nlmsghdr *request)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (send(fd, request, request->nlmsg_len, 0) < 0)
        return false;
    ssize_t n = recv(fd, &answer, sizeof(answer), 0);
    bool is_answer =
        n >= (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) && answer.header.nlmsg_type == NLMSG_ERROR;
    if (n >= 0)
        errno = is_answer ? -answer.error.error : EPROTO;
    return is_answer && answer.error.error == 0;
}

/* ip link set lo up */
static bool net_up(int fd, unsigned lo)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } q = {
        .header = {.nlmsg_len = sizeof(q), .nlmsg_type = RTM_NEWLINK},
        .link = {.ifi_index = (int)lo, .ifi_flags = IFF_UP, .ifi_change = IFF_UP},
    };
    return net_ask(fd, &q.header);
}

/* ip [-6] route add local default dev lo */
static bool net_route(int fd, int family, unsigned lo)
{
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
        struct rtattr out;
        uint32_t index;
    } q = {
        .header = {.nlmsg_len = sizeof(q),
                   .nlmsg_type = RTM_NEWROUTE,
                   .nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL},
        .route = {.rtm_family = (unsigned char)family,
                  .rtm_table = RT_TABLE_LOCAL,
                  .rtm_protocol = RTPROT_BOOT,
                  .rtm_scope = RT_SCOPE_HOST,
                  .rtm_type = RTN_LOCAL},
        .out = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = RTA_OIF},
        .index = lo,
    };
    return net_ask(fd, &q.header);
}

/* ip [-6] address add IP dev lo: for glibc, which with AI_ADDRCONFIG asks for no family of which a
 * machine has no more than 127.0.0.1 or ::1, and refuses literals of IPv6 where it has IPv4 alone.
 */
static bool net_add_address(int fd, const char *ip, unsigned lo)
{
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg to;
        struct rtattr local;
        uint8_t ip[sizeof(struct in6_addr)];
    } q = {
        .header = {.nlmsg_type = RTM_NEWADDR, .nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL},
        .to = {.ifa_family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET, .ifa_index = lo},
        .local = {.rta_type = IFA_LOCAL},
    };
    size_t n = q.to.ifa_family == AF_INET6 ? 16 : 4;
    q.to.ifa_prefixlen = (uint8_t)(8 * n);
    q.to.ifa_scope = RT_SCOPE_HOST;
    q.local.rta_len = (unsigned short)RTA_LENGTH(n);
    q.header.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(q.to)) + RTA_LENGTH(n));
    return inet_pton(q.to.ifa_family, ip, q.ip) == 1 && net_ask(fd, &q.header);
}

/* A kernel may have no IPv6, or one that is off in every new namespace. */
static bool net_route_ip6(int fd, unsigned lo)
{
    char off[8];
    int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return false;
    close(probe);
    net_read(ip6_off, off, sizeof(off));
    if (off[0] == '1' && !net_write(ip6_off, "0"))
        return false;
    return net_route(fd, AF_INET6, lo) &&
           net_add_address(fd, "100::1", lo); /* RFC 6666: nobody's */
}

static bool net_set_up(bool *has_ip6)
{
    unsigned lo = if_nametoindex("lo");
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (lo == 0 || fd < 0)
        return false;
    /* The last address of the network of names, which stands for none (own/name_map.c). */
    bool ok =
        net_up(fd, lo) && net_route(fd, AF_INET, lo) && net_add_address(fd, "198.19.255.255", lo);
    int cause = errno;
    *has_ip6 = ok && net_route_ip6(fd, lo);
    close(fd);
    errno = cause;
    return ok;
}

/* ---- all of it */

enum capture_step capture_net_make(struct capture_net *n)
{
    unsigned user = geteuid(), group = getegid();
    char before[16], now[16];
    *n = (struct capture_net){.has_user = !net_has_right()};
    net_read(port_start, before, sizeof(before));
    if (n->has_user && unshare(CLONE_NEWUSER) != 0)
        return CAPTURE_USER;
    if (n->has_user && !net_map_ids(user, group))
        return CAPTURE_MAP;
    if (unshare(CLONE_NEWNET) != 0)
        return CAPTURE_NET;
    if (!net_set_up(&n->has_ip6))
        return CAPTURE_ROUTE;
    /* Containers often let anyone listen on any port; who does so there does so here. */
    net_read(port_start, now, sizeof(now));
    if (before[0] != '\0' && strcmp(before, now) != 0)
        (void)net_write(port_start, before);
    return CAPTURE_DONE;
}
