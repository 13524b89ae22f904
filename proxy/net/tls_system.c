/* SPDX-License-Identifier: Apache-2.0 */
/* A machine or container without the package has no CA, and then each origin fails to verify with a
 * sentence about its own certificate. */
#include "net/tls_system.h"

#include <dirent.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"

/* "5ed36f99.0": the hash of a subject, and a number. */
static bool is_hash_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' &&
           strspn(name + 9, "0123456789") > 0 && strlen(name + 9) == strspn(name + 9, "0123456789");
}

/* Some file in DIR that OpenSSL may find by its name; links that lead nowhere are left behind by a
 * package that has gone. */
static bool has_hashes(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool found = false;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        struct stat st;
        char *file = xasprintf("%s/%s", path, entry->d_name);
        found = is_hash_name(entry->d_name) && stat(file, &st) == 0 && st.st_size > 0;
        free(file);
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static bool has_any_hashes(const char *dirs)
{
    struct str rest = str_from(dirs), item;
    bool found = false;
    while (!found && str_next_part(&rest, ':', &item)) {
        char *path = xstrndup(item.p, item.len);
        found = has_hashes(path);
        free(path);
    }
    return found;
}

void tls_system_check(X509_STORE *store)
{
    const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");
    /* OpenSSL's own; a distribution may have moved them, never renamed the variables. */
    const char *dirs = dir != NULL ? dir : X509_get_default_cert_dir();
    if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0 || has_any_hashes(dirs))
        return;
    log_warning("the system's store has no CA: there is none in %s%s nor in %s%s, and no "
                "certificate of an origin can be verified: install the package ca-certificates%s, "
                "or set tls.ca_file",
                file != NULL ? file : X509_get_default_cert_file(),
                file != NULL ? " (SSL_CERT_FILE)" : "", dirs, dir != NULL ? " (SSL_CERT_DIR)" : "",
                file != NULL || dir != NULL ? ", correct the variable" : "");
}
