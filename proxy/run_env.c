/* SPDX-License-Identifier: Apache-2.0 */
/* Our own environment with a table of variables in place of whatever they were. */
#include "run_env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "conf/secret.h"
#include "net/tls_bundle.h"

enum { ENV_FILE_MAX = 16 << 20 }; /* bytes of certificates, or of a wgetrc */

/* What a variable is set to. */
enum env_kind {
    ENV_PROXY,       /* the proxy's URL */
    ENV_HTTPS_PROXY, /* the same, where https:// is for it, too */
    ENV_OTHER_PROXY, /* another's, or what goes past it */
    ENV_USE_PROXY,   /* "1" where there is a CA and a proxy */
    ENV_BUNDLE,      /* the certificates as PEM; what it named before is among them */
    ENV_SWITCH,      /* "1" where there is a CA */
    ENV_WGETRC,      /* a file of wget's with our certificates behind the user's own settings */
    ENV_JAVA         /* behind what it was: key store and proxy as Java's properties */
};

/* A row, and a test by the real program where there is one (test_51_run_intercept.py). */
static const struct {
    const char *name;
    enum env_kind kind;
} variables[] = {
    {"http_proxy", ENV_PROXY},
    {"HTTP_PROXY", ENV_PROXY},
    {"https_proxy", ENV_HTTPS_PROXY},
    {"HTTPS_PROXY", ENV_HTTPS_PROXY},
    {"ftp_proxy", ENV_OTHER_PROXY},
    {"FTP_PROXY", ENV_OTHER_PROXY},
    {"all_proxy", ENV_OTHER_PROXY},
    {"ALL_PROXY", ENV_OTHER_PROXY},
    {"no_proxy", ENV_OTHER_PROXY},
    {"NO_PROXY", ENV_OTHER_PROXY},
    {"socks_proxy", ENV_OTHER_PROXY},
    {"SOCKS_PROXY", ENV_OTHER_PROXY},
    {"RSYNC_PROXY", ENV_OTHER_PROXY},
    {"PIP_PROXY", ENV_OTHER_PROXY},
    {"CARGO_HTTP_PROXY", ENV_OTHER_PROXY},
    {"npm_config_proxy", ENV_OTHER_PROXY},
    {"npm_config_https_proxy", ENV_OTHER_PROXY},
    {"SSL_CERT_FILE", ENV_BUNDLE}, /* OpenSSL: Python, Ruby, Go, Rust, Perl */
    {"CURL_CA_BUNDLE", ENV_BUNDLE},
    {"REQUESTS_CA_BUNDLE", ENV_BUNDLE},
    {"PIP_CERT", ENV_BUNDLE},
    {"HTTPLIB2_CA_CERTS", ENV_BUNDLE},
    {"AWS_CA_BUNDLE", ENV_BUNDLE},
    {"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", ENV_BUNDLE},
    {"GIT_SSL_CAINFO", ENV_BUNDLE},
    {"NODE_EXTRA_CA_CERTS", ENV_BUNDLE},
    {"DENO_CERT", ENV_BUNDLE},
    {"CARGO_HTTP_CAINFO", ENV_BUNDLE},
    {"PERL_LWP_SSL_CA_FILE", ENV_BUNDLE},
    {"BUNDLE_SSL_CA_CERT", ENV_BUNDLE},
    {"HEX_CACERTS_PATH", ENV_BUNDLE},
    {"NIX_SSL_CERT_FILE", ENV_BUNDLE},
    {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", ENV_BUNDLE},
    {"NODE_USE_ENV_PROXY", ENV_USE_PROXY}, /* without it Node's own clients know no proxy */
    {"PERL_LWP_ENV_PROXY", ENV_USE_PROXY}, /* nor does LWP */
    {"UV_NATIVE_TLS", ENV_SWITCH},         /* uv looks at SSL_CERT_FILE */
    {"WGETRC", ENV_WGETRC},                /* GnuTLS has no variable */
    {"JAVA_TOOL_OPTIONS", ENV_JAVA},
};

enum { VARIABLES = sizeof(variables) / sizeof(variables[0]) };

struct run_env {
    unsigned port; /* 0: there is no proxy */
    bool https;
    char *dir;                   /* NULL: there is no CA */
    char *bundle, *jks, *wgetrc; /* paths in it */
    char *made[VARIABLES];
    char **list;
};

static const char java_password[] = "changeit"; /* as everybody's; what it guards is public */

/* ---- files */

/* Whole, with MODE whatever the umask says: COMMAND may change its user. */
static bool env_write(const char *path, const char *p, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && file_write(fd, p, n) && fchmod(fd, mode) == 0;
    int cause = errno;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "tlsfan: %s: %s\n", path, strerror(cause == 0 ? EIO : cause));
    return ok;
}

/* Appends the certificates of the file PATH, if it can be read. A key that stands there, too, is
 * for its reader alone. */
static void env_copy(FILE *to, const char *path)
{
    size_t n;
    char *text = file_read(path, ENV_FILE_MAX, &n);
    if (text == NULL)
        return;
    tls_bundle_copy(to, text, n);
    explicit_bzero(text, n);
    free(text);
}

/* What OpenSSL looks for in a directory of certificates: the hash of a name, and a number. */
static int env_is_hashed(const struct dirent *entry)
{
    enum { HASH_DIGITS = 8 };
    const char *name = entry->d_name;
    return strspn(name, "0123456789abcdef") == HASH_DIGITS && name[HASH_DIGITS] == '.' &&
           strspn(name + HASH_DIGITS + 1, "0123456789") == strlen(name + HASH_DIGITS + 1);
}

/* The same of what a variable names: a file, or for some programs such a directory. */
static void env_copy_all(FILE *to, const char *path)
{
    struct dirent **found;
    int n = scandir(path, &found, env_is_hashed, alphasort);
    if (n < 0) {
        env_copy(to, path);
        return;
    }
    for (int i = 0; i < n; i++) {
        char *file = xasprintf("%s/%s", path, found[i]->d_name);
        env_copy(to, file);
        free(file);
        free(found[i]);
    }
    free(found);
}

/* True for the first variable that names this file. */
static bool env_is_first(const char *path, unsigned at)
{
    const char *system = tls_bundle_system();
    if (system != NULL && strcmp(system, path) == 0)
        return false;
    for (unsigned i = 0; i < at; i++) {
        const char *value = variables[i].kind == ENV_BUNDLE ? getenv(variables[i].name) : NULL;
        if (value != NULL && strcmp(value, path) == 0)
            return false;
    }
    return true;
}

/* What this machine trusts, what the variables named, and CA. Heap. */
static char *env_certificates(const struct tls_ca *ca, size_t *n)
{
    char *text = NULL;
    char *own = tls_ca_cert_pem(ca);
    FILE *f = open_memstream(&text, n);
    if (f == NULL)
        abort();
    if (tls_bundle_system() != NULL)
        env_copy(f, tls_bundle_system());
    for (unsigned i = 0; i < VARIABLES; i++) {
        const char *value = variables[i].kind == ENV_BUNDLE ? getenv(variables[i].name) : NULL;
        if (value != NULL && env_is_first(value, i))
            env_copy_all(f, value);
    }
    fputs(own, f);
    fclose(f);
    free(own);
    return text;
}

/* Who may read the user's own settings may read what has a copy of them, with the passwords in it.
 */
static mode_t env_mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 0644 : 0644;
}

/* What wget would have read, and where our certificates are. Heap. */
static char *env_wgetrc(const struct run_env *e, size_t *n, mode_t *mode)
{
    const char *set = getenv("WGETRC");
    const char *home = getenv("HOME");
    char *path = set != NULL && *set != '\0' ? xstrdup(set)
                                             : xasprintf("%s/.wgetrc", home == NULL ? "" : home);
    *mode = env_mode_of(path);
    size_t before;
    char *own = file_read(path, ENV_FILE_MAX, &before);
    char *text = xasprintf("%s\nca_certificate = %s\n%s", own == NULL ? "" : own, e->bundle,
                           e->port == 0 ? "use_proxy = off\n" : "");
    *n = strlen(text);
    free(own);
    free(path);
    return text;
}

/* Nobody else can put anything into it. False with a line on stderr. */
static bool env_make_dir(struct run_env *e)
{
    const char *tmp = getenv("TMPDIR");
    e->dir = xasprintf("%s/tlsfan-XXXXXX", tmp != NULL && *tmp == '/' ? tmp : "/tmp");
    if (mkdtemp(e->dir) != NULL && chmod(e->dir, 0755) == 0)
        return true;
    fprintf(stderr,
            "tlsfan: --intercept: no directory for certificates: %s: %s (TMPDIR says where)\n",
            e->dir, strerror(errno));
    return false;
}

static void env_name_files(struct run_env *e, void (*leave)(const char *path))
{
    e->bundle = xasprintf("%s/ca.pem", e->dir);
    e->jks = xasprintf("%s/ca.jks", e->dir);
    e->wgetrc = xasprintf("%s/wgetrc", e->dir);
    const char *const paths[] = {e->dir, e->bundle, e->jks, e->wgetrc};
    for (size_t i = 0; leave != NULL && i < sizeof(paths) / sizeof(paths[0]); i++)
        leave(paths[i]);
}

static bool env_make_files(struct run_env *e, const struct tls_ca *ca)
{
    size_t n, jks_len, rc_len;
    mode_t rc_mode;
    char *pem = env_certificates(ca, &n);
    char *jks = tls_bundle_jks(pem, n, java_password, &jks_len);
    char *rc = env_wgetrc(e, &rc_len, &rc_mode);
    bool ok = env_write(e->bundle, pem, n, 0644) && env_write(e->jks, jks, jks_len, 0644) &&
              env_write(e->wgetrc, rc, rc_len, rc_mode);
    free(pem);
    free(jks);
    explicit_bzero(rc, rc_len);
    free(rc);
    return ok;
}

/* ---- variables */

static char *env_java(const struct run_env *e, const char *before)
{
    char proxy[160] = "";
    if (e->port != 0)
        snprintf(proxy, sizeof(proxy),
                 " -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=%u"
                 " -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=%u",
                 e->port, e->port);
    return xasprintf("JAVA_TOOL_OPTIONS=%s%s-Djavax.net.ssl.trustStore=%s "
                     "-Djavax.net.ssl.trustStorePassword=%s -Djavax.net.ssl.trustStoreType=JKS%s",
                     before == NULL ? "" : before, before == NULL ? "" : " ", e->jks, java_password,
                     proxy);
}

/* "NAME=VALUE", or NULL where the variable stays as it is. */
static char *env_value(const struct run_env *e, const char *name, enum env_kind kind)
{
    bool is_proxy = kind == ENV_PROXY || (kind == ENV_HTTPS_PROXY && e->https);
    if (is_proxy && e->port != 0)
        return xasprintf("%s=http://127.0.0.1:%u", name, e->port);
    if (e->dir == NULL)
        return NULL;
    switch (kind) {
    case ENV_BUNDLE:
        return xasprintf("%s=%s", name, e->bundle);
    case ENV_USE_PROXY:
        return e->port == 0 ? NULL : xasprintf("%s=1", name);
    case ENV_SWITCH:
        return xasprintf("%s=1", name);
    case ENV_WGETRC:
        return xasprintf("%s=%s", name, e->wgetrc);
    case ENV_JAVA:
        return env_java(e, getenv(name));
    default:
        return NULL;
    }
}

/* A proxy in COMMAND's network would be one that it cannot reach. */
static bool env_is_dropped(const struct run_env *e, enum env_kind kind)
{
    return e->port == 0 &&
           (kind == ENV_PROXY || kind == ENV_HTTPS_PROXY || kind == ENV_OTHER_PROXY);
}

/* True when ENTRY, "NAME=VALUE", is one of ours. */
static bool env_is_replaced(const struct run_env *e, const char *entry)
{
    for (unsigned i = 0; i < VARIABLES; i++) {
        size_t n = strlen(variables[i].name);
        bool is_ours = e->made[i] != NULL || env_is_dropped(e, variables[i].kind);
        if (is_ours && strncmp(entry, variables[i].name, n) == 0 && entry[n] == '=')
            return true;
    }
    return false;
}

static void env_make_list(struct run_env *e)
{
    size_t n = 0;
    size_t kept = 0;
    while (environ[n] != NULL)
        n++;
    e->list = xcalloc(n + VARIABLES + 1, sizeof(*e->list));
    for (unsigned i = 0; i < VARIABLES; i++)
        e->made[i] = env_value(e, variables[i].name, variables[i].kind);
    for (size_t i = 0; i < n; i++)
        if (!env_is_replaced(e, environ[i]))
            e->list[kept++] = environ[i];
    for (unsigned i = 0; i < VARIABLES; i++)
        if (e->made[i] != NULL)
            e->list[kept++] = e->made[i];
}

struct run_env *run_env_new(unsigned port, bool https, const struct tls_ca *ca,
                            void (*leave)(const char *path))
{
    struct run_env *e = xcalloc(1, sizeof(*e));
    e->port = port;
    e->https = https;
    if (ca != NULL && env_make_dir(e))
        env_name_files(e, leave);
    if (ca != NULL && (e->bundle == NULL || !env_make_files(e, ca))) {
        run_env_free(e);
        return NULL;
    }
    env_make_list(e);
    return e;
}

void run_env_hide(struct run_env *e, const struct conf *c)
{
    size_t kept = 0;
    for (char **v = e->list; *v != NULL; v++) {
        struct str entry = str_from(*v);
        if (!secrets_have_variable(c, str_make(entry.p, str_find(entry, '='))))
            e->list[kept++] = *v;
    }
    e->list[kept] = NULL;
}

char **run_env_list(const struct run_env *e)
{
    return e->list;
}

static void env_remove_files(const struct run_env *e)
{
    const char *const paths[] = {e->bundle, e->jks, e->wgetrc, e->dir};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (paths[i] != NULL)
            (void)remove(paths[i]);
}

void run_env_free(struct run_env *e)
{
    if (e == NULL)
        return;
    env_remove_files(e);
    free(e->bundle);
    free(e->jks);
    free(e->wgetrc);
    free(e->dir);
    for (unsigned i = 0; i < VARIABLES; i++)
        free(e->made[i]);
    free(e->list);
    free(e);
}
