/* SPDX-License-Identifier: Apache-2.0 */
/* What can fail comes first: see logs.h. */
#include "logs.h"

#include <errno.h>
#include <unistd.h>

#include "net/tls_keylog.h"

bool logs_open(const struct conf *c)
{
    char err[256];
    const char *path = c->rules[0].tls.keylog;
    int fd = path[0] == '\0' ? -1 : tls_keylog_open(path);
    if (path[0] != '\0' && fd < 0) {
        log_error("tls.keylog %s cannot be opened: %s", path, strerror(errno));
        return false;
    }
    if (!log_open(c->log.level, c->log.access, err, sizeof(err))) {
        log_error("the access log %s cannot be opened: %s", c->log.access, err);
        if (fd >= 0)
            close(fd);
        return false;
    }
    tls_keylog_use(fd, path);
    return true;
}

void logs_reopen(void)
{
    bool is_access = log_reopen();
    bool is_keylog = tls_keylog_reopen();
    if (is_access && is_keylog)
        log_info("log files were opened again");
}

void logs_close(void)
{
    tls_keylog_use(-1, NULL);
    log_close();
}
