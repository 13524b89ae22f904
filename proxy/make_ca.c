/* SPDX-License-Identifier: Apache-2.0 */
/* A CA in two files. The certificate is written first: its name is what a second call finds. */
#include "make_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "net/tls_ca.h"

enum { MAKE_CA_DAYS = 3650 };

static const char install_text[] =
    "made %1$s/ca.pem, the certificate, and %1$s/ca.key, which nobody else may see: whoever has "
    "it\n"
    "can be any server to all who trust the certificate. A tlsfan of another user gets it by its\n"
    "group: chgrp tlsfan %1$s/ca.key; chmod 640 %1$s/ca.key\n"
    "\n"
    "tlsfan.conf:\n"
    "    intercept { ca_cert = \"%1$s/ca.pem\"  ca_key = \"%1$s/ca.key\" }\n"
    "    rule \"api.example.com\" { intercept = on }\n"
    "\n"
    "The programs that are intercepted must trust the certificate:\n"
    "    Debian    cp %1$s/ca.pem /usr/local/share/ca-certificates/tlsfan.crt\n"
    "              update-ca-certificates     (enough for curl, wget, git, Go, Ruby)\n"
    "    Python    requests, pip: REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt\n"
    "              ssl, urllib:   SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n"
    "    Node      NODE_EXTRA_CA_CERTS=%1$s/ca.pem\n"
    "    Java      keytool -importcert -noprompt -cacerts -storepass changeit -alias tlsfan \\\n"
    "              -file %1$s/ca.pem\n"
    "and use the proxy:\n"
    "    most      https_proxy=http://127.0.0.1:3128\n"
    "    Node      that and NODE_USE_ENV_PROXY=1 (from Node 24 on)\n"
    "    Java      -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128\n"
    "What no_proxy names goes past it. For https:// URLs with another port than 443 set\n"
    "destination.connect_ports.\n";

/* Where it happened, and why. */
static enum exit_status make_ca_fault(const char *path, const char *reason)
{
    fprintf(stderr, "tlsfan: %s: %s\n", path, reason);
    return STATUS_BAD_CONF;
}

/* A file that was not there, with TEXT in it, safe on the disk. 0, or an errno. */
static int write_new(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return errno;
    int cause = file_write(fd, text, strlen(text)) && fsync(fd) == 0 ? 0 : errno;
    if (close(fd) != 0 && cause == 0)
        cause = errno;
    if (cause != 0)
        unlink(path);
    return cause;
}

/* Neither file, or both. */
static enum exit_status write_both(const struct tls_ca *ca, const char *cert, const char *key)
{
    const char *path = cert;
    char *cert_pem = tls_ca_cert_pem(ca);
    char *key_pem = tls_ca_key_pem(ca);
    int cause = write_new(cert, cert_pem, 0644);
    if (cause == 0) {
        path = key;
        cause = write_new(key, key_pem, 0600);
        if (cause != 0)
            unlink(cert);
    }
    explicit_bzero(key_pem, strlen(key_pem));
    free(key_pem);
    free(cert_pem);
    return cause == 0 ? STATUS_OK : make_ca_fault(path, strerror(cause));
}

/* Into DIR, which is there. */
static enum exit_status write_ca(const char *dir, char *const *names)
{
    unsigned n = 0;
    char *why = NULL;
    while (names[n] != NULL)
        n++;
    struct tls_ca *ca = tls_ca_make((const char *const *)names, n, MAKE_CA_DAYS, &why);
    if (ca == NULL) {
        fprintf(stderr, "tlsfan: --make-ca: %s\n", why);
        free(why);
        return STATUS_USAGE;
    }
    char *cert = xasprintf("%s/ca.pem", dir);
    char *key = xasprintf("%s/ca.key", dir);
    enum exit_status status = write_both(ca, cert, key);
    tls_ca_unref(ca);
    free(cert);
    free(key);
    return status;
}

enum exit_status make_ca(const char *dir, char *const *names)
{
    char full[PATH_MAX];
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return make_ca_fault(dir, strerror(errno));
    if (realpath(dir, full) == NULL)
        return make_ca_fault(dir, strerror(errno));
    enum exit_status status = write_ca(full, names);
    if (status == STATUS_OK)
        printf(install_text, full);
    return status;
}
