/* SPDX-License-Identifier: Apache-2.0 */
/* Advice for origins of plain HTTP: see plain.h. What a client chose stands in a command line that
 * a person may paste, hence only names that a shell reads as they are. */
#include "exchange/plain.h"

#include <ctype.h>
#include <stdio.h>

#include "upstream/way.h"

enum { PLAIN_PATTERN = 256 + 8, PLAIN_TEXT = 512 };

/* ---- why one would want it; NULL: F has nothing to do with it */

/* The port of https:// was tried in the place of the one of http://, and nobody is there. */
static bool plain_is_missed(const struct exchange *x, const struct fault *f)
{
    return f->code == FAULT_REFUSED && x->rewrite.is_upgraded && x->where.port == 443 &&
           x->where.rule_port == 443 && x->target.host.port != 443 && x->rewrite.forward == NULL &&
           x->rule->connect_host[0] == '\0' &&
           conf_connect_to(x->conf, x->where.host, x->where.port) == NULL;
}

static const char *plain_lead(const struct exchange *x, const struct fault *f)
{
    /* What a parent does is not the origin's. */
    if (way_parent(&x->where) != NULL)
        return NULL;
    if (plain_is_missed(x, f))
        return "; if it serves plain HTTP at port 80 alone, ";
    /* A server that waits for the end of a head is silent; at port 443 it rather is a firewall. */
    bool is_silent = f->code == FAULT_CONNECT_TIMEOUT;
    if (!f->is_plain || (is_silent && x->where.port == 443))
        return NULL;
    return is_silent || f->code == FAULT_UP_CLOSED ? ": perhaps it speaks plain HTTP; if so, "
                                                   : "; if that is right, ";
}

/* ---- what to write */

/* The pattern of a rule for what X asks. Empty where the name could mean something to a shell or in
 * the configuration. */
static void plain_pattern(const struct exchange *x, char dst[PLAIN_PATTERN])
{
    struct str host = x->where.host;
    bool is_v6 = str_find(host, ':') < host.len;
    bool is_good = host.len > 0 && host.len < PLAIN_PATTERN - 8;
    for (size_t i = 0; i < host.len; i++)
        is_good &= isalnum((unsigned char)host.p[i]) || strchr("-_.:", host.p[i]) != NULL;
    dst[0] = '\0';
    if (!is_good)
        return;
    int n = snprintf(dst, PLAIN_PATTERN, is_v6 ? "[%.*s]" : "%.*s", STR_ARG(host));
    if (x->where.rule_port != 443)
        snprintf(dst + n, PLAIN_PATTERN - (size_t)n, ":%u", x->where.rule_port);
}

/* The rule that holds is one for this host alone. */
static bool plain_has_rule(const struct exchange *x)
{
    return str_eq(str_from(x->rule->host), x->where.host);
}

static bool plain_is_option(const struct rule *r)
{
    return str_starts(str_from(r->where), STR("-o "));
}

/* Where in the configuration it stands, or is to stand. */
static void plain_as_rule(const struct exchange *x, const char *pattern, char *dst)
{
    const struct rule *r = x->rule;
    char file[256];
    if (plain_has_rule(x))
        snprintf(dst, PLAIN_TEXT, "add upgrade = off to rule \"%s\" (%s)", r->pattern, r->where);
    else if (r->index != 0)
        snprintf(dst, PLAIN_TEXT,
                 "write rule \"%s\" { upgrade = off } in front of rule \"%.100s\" (%s)", pattern,
                 r->pattern, r->where);
    else
        snprintf(dst, PLAIN_TEXT, "write rule \"%s\" { upgrade = off } into %s", pattern,
                 str_escape(file, sizeof(file), str_from(x->conf->file)));
}

/* As an option of the command line, which makes a rule behind those of the file. */
static void plain_as_option(const struct exchange *x, const char *pattern, char *dst)
{
    const struct rule *r = x->rule;
    if (plain_has_rule(x))
        pattern = r->pattern;
    size_t n = (size_t)snprintf(dst, PLAIN_TEXT, "start %s -o 'rule[%s].upgrade=off'",
                                x->conf->is_run ? "tlsfan run with" : "tlsfan with", pattern);
    if (!plain_has_rule(x) && r->index != 0 && n < PLAIN_TEXT)
        snprintf(dst + n, PLAIN_TEXT - n, " in front of %.200s", r->where);
}

/* Whom COMMAND asks without us. A captured one asks nobody so. */
static void plain_no_proxy(const struct exchange *x, char *dst)
{
    size_t n = strlen(dst);
    if (x->conf->is_run && x->from->turned == NULL)
        snprintf(dst + n, PLAIN_TEXT - n, ", or with no_proxy=%.*s in its environment",
                 STR_ARG(x->where.host));
}

static void plain_for_rule(const struct exchange *x, char *dst)
{
    char pattern[PLAIN_PATTERN];
    plain_pattern(x, pattern);
    bool is_written = x->rule->index != 0 && !plain_is_option(x->rule);
    bool has_file = x->conf->file != NULL && !x->conf->is_run;
    if (pattern[0] == '\0') {
        snprintf(dst, PLAIN_TEXT, "upgrade = off in a rule for this host allows it");
        return;
    }
    bool is_option = !is_written && !has_file;
    if (is_option || (x->conf->is_run && plain_has_rule(x)))
        plain_as_option(x, pattern, dst);
    else
        plain_as_rule(x, pattern, dst);
    plain_no_proxy(x, dst);
}

/* Empty where nothing would help: the URL says https://. */
static void plain_how(const struct exchange *x, char *dst)
{
    const struct forward *fwd = x->rewrite.forward;
    dst[0] = '\0';
    if (fwd != NULL)
        snprintf(dst, PLAIN_TEXT, "write http:// in the `to` of forward \"%.100s\"", fwd->listener);
    else if (x->rewrite.is_upgraded)
        plain_for_rule(x, dst);
    /* Paths may have any byte, and a sentence becomes a field value. */
    for (char *c = dst; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
}

void plain_advise(const struct exchange *x, struct fault *f)
{
    char how[PLAIN_TEXT];
    const char *lead = plain_lead(x, f);
    size_t n = strlen(f->text);
    if (lead == NULL)
        return;
    plain_how(x, how);
    /* Half a command is none. */
    if (how[0] != '\0' && n + strlen(lead) + strlen(how) < sizeof(f->text))
        stpcpy(stpcpy(f->text + n, lead), how);
}
