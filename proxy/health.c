/* SPDX-License-Identifier: Apache-2.0 */
/* --check-health: a blocking client of few lines, as this process does nothing else. */
#include "health.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "server.h"

enum { PATIENCE_S = 5 };

static enum exit_status unwell(const char *where, const char *why)
{
    fprintf(stderr, "tlsfan: the service listener %s %s\n", where, why);
    return STATUS_BAD_CONF;
}

/* The service listener of C in A. False where there is none, or its port is only known at start. */
static bool find_service(const struct conf *c, struct addr *a)
{
    for (unsigned i = 0; i < c->n_listeners; i++) {
        if (c->listeners[i].kind != LISTENER_SERVICE)
            continue;
        *a = c->listeners[i].addr;
        return addr_port(a) != 0;
    }
    return false;
}

static bool configured(const struct conf_source *source, struct addr *a)
{
    struct conf_faults faults = {0};
    struct conf *c = conf_load(source, &faults);
    bool found = c != NULL && find_service(c, a);
    if (c == NULL)
        fputs(faults.text, stderr);
    else if (!found)
        fputs("tlsfan: no service listener is configured: name its ADDR:PORT\n", stderr);
    free(faults.text);
    if (c != NULL)
        conf_unref(&c);
    return found;
}

/* Who listens on all addresses listens on loopback. */
static void make_reachable(struct addr *a)
{
    struct str loopback = addr_family(a) == AF_INET ? STR("127.0.0.1") : STR("::1");
    if (addr_is_any(a) && !addr_parse_ip(a, loopback, addr_port(a)))
        abort(); /* a literal */
}

/* The status of the answer to GET /healthz on FD; 0 with errno when there is none. */
static unsigned health_request(int fd, const struct addr *a)
{
    char text[ADDR_TEXT], answer[256];
    struct timeval patience = {.tv_sec = PATIENCE_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, &a->sa, a->len) < 0)
        return 0;
    char *request = xasprintf("GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                              addr_print(a, text));
    bool sent = send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request);
    free(request);
    ssize_t n = sent ? recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL) : -1;
    if (n < 0)
        return 0;
    uint64_t status;
    struct str line = str_make(answer, (size_t)n);
    if (str_starts(line, STR("HTTP/1.")) && n >= 12 && str_to_u64(str_make(answer + 9, 3), &status))
        return (unsigned)status;
    errno = EPROTO;
    return 0;
}

enum exit_status health_check(const struct conf_source *source, const char *address)
{
    struct addr a;
    char where[ADDR_TEXT], why[128];
    if (address == NULL && !configured(source, &a))
        return STATUS_BAD_CONF;
    if (address != NULL && !addr_parse(&a, str_from(address)))
        return unwell(address, "is no ADDR:PORT");
    make_reachable(&a);
    addr_print(&a, where);
    int fd = socket(addr_family(&a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned status = fd < 0 ? 0 : health_request(fd, &a);
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (status == 200)
        return STATUS_OK;
    if (status == 0)
        snprintf(why, sizeof(why), "does not answer: %s", strerror(cause));
    else
        snprintf(why, sizeof(why), "answered %u", status);
    return unwell(where, why);
}
