/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/password.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* "{file:X}" gives X. */
static const char *password_inside(struct arena *arena, struct str text, struct str open)
{
    if (!str_starts(text, open) || text.len <= open.len + 1 || text.p[text.len - 1] != '}')
        return NULL;
    struct str inside = str_make(text.p + open.len, text.len - open.len - 1);
    if (str_find(inside, '}') != inside.len)
        return NULL;
    return arena_dup(arena, inside).p;
}

bool password_parse(struct arena *arena, struct str text, struct password_ref *ref)
{
    ref->file = password_inside(arena, text, STR("{file:"));
    ref->env = password_inside(arena, text, STR("{env:"));
    return ref->file != NULL || ref->env != NULL;
}

bool password_is_begun(struct str text)
{
    return str_starts(text, STR("{file:")) || str_starts(text, STR("{env:"));
}

static char *password_fail(char *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
static char *password_fail(char *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(err, PASSWORD_ERR, fmt, args) < 0)
        err[0] = '\0';
    va_end(args);
    return NULL;
}

void password_free(char *password)
{
    if (password != NULL)
        explicit_bzero(password, strlen(password));
    free(password);
}

static size_t without_line_end(const char *text, size_t len)
{
    if (len == 0 || text[len - 1] != '\n')
        return len;
    len--;
    return len > 0 && text[len - 1] == '\r' ? len - 1 : len;
}

/* PASSWORD, of which LEN bytes count, is what NAME holds: the same, or NULL when it is gone. */
static char *password_check(char *password, size_t len, const char *name, char *err)
{
    const char *why = NULL;
    if (len == 0)
        why = "is empty";
    else if (len > PASSWORD_MAX)
        why = "is too long for a password";
    for (size_t i = 0; i < len && why == NULL; i++)
        if ((unsigned char)password[i] < ' ' || password[i] == 0x7f)
            why = "has a control byte in it: a password is one line of text";
    if (why == NULL) {
        password[len] = '\0';
        return password;
    }
    explicit_bzero(password, len);
    free(password);
    return password_fail(err, "%s %s", name, why);
}

char *password_read(const struct password_ref *ref, struct conf_file **files,
                    char err[PASSWORD_ERR])
{
    if (ref->file == NULL) {
        const char *value = ref->env == NULL ? NULL : getenv(ref->env);
        if (value == NULL)
            return password_fail(err, "the variable %s is not set",
                                 ref->env == NULL ? "" : ref->env);
        return password_check(xstrdup(value), strlen(value), ref->env, err);
    }
    size_t len = 0;
    char *text = conf_files_read(files, ref->file, &len);
    if (text == NULL)
        return password_fail(err, "cannot read %s: %s", ref->file, strerror(errno));
    return password_check(text, without_line_end(text, len), ref->file, err);
}

bool password_is_open(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH) != 0;
}
