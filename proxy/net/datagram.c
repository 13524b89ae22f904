/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses beside datagrams: ip(7) and RFC 3542. */
#include "net/datagram.h"

#include <sys/uio.h>

/* Linux has it since 4.15; older C library headers may not say so. */
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

/* Room for either kind of address. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static bool datagram_set_flag(int fd, int level, int name)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

bool datagram_set_up(int fd)
{
    int family;
    socklen_t len = sizeof(family);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
        return false;
    /* An IPv6 address that no interface has is chosen only by a socket that could be bound to it;
     * for IPv4 a local route is enough. */
    if (family == AF_INET6)
        return datagram_set_flag(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) &&
               datagram_set_flag(fd, IPPROTO_IPV6, IPV6_FREEBIND);
    return datagram_set_flag(fd, IPPROTO_IP, IP_PKTINFO);
}

static void take_local(struct datagram *d, const struct cmsghdr *c)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct in_pktinfo info4;
    struct in6_pktinfo info6;
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        memcpy(&info4, CMSG_DATA(c), sizeof(info4));
        in4.sin_addr = info4.ipi_addr;
        d->interface = (unsigned)info4.ipi_ifindex;
        addr_from_sockaddr(&d->local, (const struct sockaddr *)&in4, sizeof(in4));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
        memcpy(&info6, CMSG_DATA(c), sizeof(info6));
        in6.sin6_addr = info6.ipi6_addr;
        d->interface = info6.ipi6_ifindex;
        addr_from_sockaddr(&d->local, (const struct sockaddr *)&in6, sizeof(in6));
    }
}

ssize_t datagram_receive(int fd, void *p, size_t n, struct datagram *d)
{
    union control control;
    struct sockaddr_storage peer;
    struct iovec v = {p, n};
    struct msghdr m = {.msg_name = &peer,
                       .msg_namelen = sizeof(peer),
                       .msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    *d = (struct datagram){.interface = 0};
    ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0)
        return -1;
    addr_from_sockaddr(&d->peer, (const struct sockaddr *)&peer, m.msg_namelen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c))
        take_local(d, c);
    return got;
}

/* Gives the bytes of C, whose data are N at P. */
static size_t put_control(struct cmsghdr *c, int level, int type, struct str data)
{
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(data.len);
    memcpy(CMSG_DATA(c), data.p, data.len);
    return CMSG_SPACE(data.len);
}

static size_t put_local(struct cmsghdr *c, const struct datagram *d)
{
    if (d->local.len == 0)
        return 0;
    if (addr_family(&d->local) == AF_INET) {
        struct in_pktinfo info4 = {.ipi_spec_dst = d->local.in4.sin_addr};
        return put_control(c, IPPROTO_IP, IP_PKTINFO, str_make((char *)&info4, sizeof(info4)));
    }
    struct in6_pktinfo info6 = {.ipi6_addr = d->local.in6.sin6_addr};
    /* What is local to a link is on one of them. */
    if (IN6_IS_ADDR_LINKLOCAL(&info6.ipi6_addr))
        info6.ipi6_ifindex = d->interface;
    return put_control(c, IPPROTO_IPV6, IPV6_PKTINFO, str_make((char *)&info6, sizeof(info6)));
}

bool datagram_send(int fd, const void *p, size_t n, const struct datagram *d)
{
    union control control;
    struct addr peer = d->peer;
    struct iovec v = {(void *)p, n};
    struct msghdr m = {.msg_name = &peer.sa,
                       .msg_namelen = peer.len,
                       .msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    memset(&control, 0, sizeof(control));
    m.msg_controllen = put_local(CMSG_FIRSTHDR(&m), d);
    if (m.msg_controllen == 0)
        m.msg_control = NULL;
    return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}
