/* SPDX-License-Identifier: Apache-2.0 */
/* The check of the text: comments, quotes, ${NAME}, braces. It must agree with the parser's lexer
 * on where a string or a comment begins and ends, and refuses what the two could see differently.
 * */
#include "conf/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "conf/files.h"

enum { WORD_MAX = 64 << 10, DEPTH_MAX = 16 };

/* Where the check stands. */
struct scan {
    struct text *t;
    const char *name;
    struct conf_faults *faults;
    size_t at;
    unsigned line;
    unsigned open[DEPTH_MAX]; /* lines of the braces that are open */
    unsigned depth;
    char last; /* the last byte that was no blank: '=' before a list */
    bool ok;
};

static void text_fail(struct scan *s, unsigned line, const char *reason)
{
    char *where = xasprintf("%s:%u", s->name, line);
    conf_fault(s->faults, where, "%s", reason);
    free(where);
    s->ok = false;
}

static char peek(const struct scan *s, size_t ahead)
{
    return s->at + ahead < s->t->len ? s->t->p[s->at + ahead] : '\0';
}

static void step(struct scan *s)
{
    if (peek(s, 0) == '\n')
        s->line++;
    s->at++;
}

static void blank(struct scan *s)
{
    if (peek(s, 0) != '\n')
        s->t->p[s->at] = ' ';
    step(s);
}

static void skip_line_comment(struct scan *s)
{
    while (s->at < s->t->len && peek(s, 0) != '\n')
        blank(s);
}

static void skip_block_comment(struct scan *s)
{
    unsigned line = s->line;
    blank(s);
    blank(s);
    while (s->at < s->t->len) {
        bool is_end = peek(s, 0) == '*' && peek(s, 1) == '/';
        blank(s);
        if (!is_end)
            continue;
        blank(s);
        return;
    }
    text_fail(s, line, "this comment is not closed");
}

/* ${NAME} or ${NAME:-DEFAULT}, at its '$'. */
static void check_variable(struct scan *s)
{
    struct str rest = str_make(s->t->p + s->at + 2, s->t->len - s->at - 2);
    size_t end = str_find(rest, '}');
    if (end == rest.len) {
        text_fail(s, s->line, "${ is not closed");
        s->at = s->t->len;
        return;
    }
    char *name = xstrndup(rest.p, end);
    char *colon = strchr(name, ':');
    bool has_default = colon != NULL && colon[1] == '-';
    if (!has_default && getenv(name) == NULL) {
        char shown[128];
        char *reason = xasprintf("the variable %s is not set",
                                 str_escape(shown, sizeof(shown), str_from(name)));
        text_fail(s, s->line, reason);
        free(reason);
    }
    free(name);
    for (size_t i = 0; i < end + 3; i++)
        step(s);
}

static void check_escape(struct scan *s)
{
    step(s);
    char c = peek(s, 0);
    /* Numbers could make a NUL byte, and an overlong one would stop the parser inside the string.
     * */
    if ((c >= '0' && c <= '9') || c == 'x')
        text_fail(s, s->line, "number escapes are not taken: write the character itself");
    if (s->at < s->t->len)
        step(s);
}

/* Of a word or string that began at BEGIN: the lexer's time grows with the square of it. */
static void check_length(struct scan *s, size_t begin, unsigned line)
{
    if (s->at - begin > WORD_MAX)
        text_fail(s, line, "this text is too long");
}

static void text_skip_string(struct scan *s, char quote)
{
    unsigned line = s->line;
    size_t begin = s->at;
    step(s);
    while (s->at < s->t->len) {
        char c = peek(s, 0);
        if (c == quote) {
            step(s);
            check_length(s, begin, line);
            return;
        }
        if (c == '\\' && quote == '"') {
            check_escape(s);
        } else if (c == '\\') {
            step(s);
            if (s->at < s->t->len)
                step(s);
        } else if (c == '$' && quote == '"' && peek(s, 1) == '{') {
            check_variable(s);
        } else {
            step(s);
        }
    }
    text_fail(s, line, "this string is not closed");
}

static void open_brace(struct scan *s)
{
    if (s->depth == DEPTH_MAX) {
        text_fail(s, s->line, "sections are nested too deeply");
        s->at = s->t->len;
        return;
    }
    s->open[s->depth++] = s->line;
    if (s->last == '=')
        return;
    struct text *t = s->t;
    t->opens = xgrow(t->opens, t->n_opens, sizeof(t->opens[0]));
    t->opens[t->n_opens++] = s->line;
}

static void close_brace(struct scan *s)
{
    if (s->depth == 0)
        text_fail(s, s->line, "} without a section or list that it closes");
    else
        s->depth--;
}

static bool is_word_end(char c)
{
    return c == '\0' || strchr(" #\"'\t\n\r={}()+,*", c) != NULL;
}

/* What other programs take, and here would be a part of the word. */
static void check_word(struct scan *s, struct str word)
{
    static const struct str quotes[] = {STR_INIT("\xe2\x80\x9c"), STR_INIT("\xe2\x80\x9d"),
                                        STR_INIT("\xe2\x80\x9e"), STR_INIT("\xe2\x80\x98"),
                                        STR_INIT("\xe2\x80\x99")};
    if (word.p[word.len - 1] == ';')
        text_fail(s, s->line, "nothing ends with \";\" here: leave it out");
    else if (s->last == '=' && (str_eq(word, STR("[")) || str_eq(word, STR("[]"))))
        text_fail(s, s->line, "a list is written with braces: {\"one\", \"two\"}");
    for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++)
        if (str_starts(word, quotes[i]))
            text_fail(s, s->line, "these quotes are a word processor's: write plain ones, \"");
}

/* One thing outside strings and comments. A word ends where the lexer ends it, so that the "//" of
 * an unquoted URL is no comment. */
static void check_token(struct scan *s)
{
    char c = peek(s, 0);
    if (c == '{')
        open_brace(s);
    else if (c == '}')
        close_brace(s);
    else if (c == '*')
        text_fail(s, s->line,
                  "* stands outside quotes: put the whole text into them, as in \"*.example.com\"");
    else if (c == '+' && peek(s, 1) != '=')
        text_fail(s, s->line, "+ stands outside quotes");
    else if ((unsigned char)c < ' ' && c != '\n' && c != '\t' && c != '\r')
        text_fail(s, s->line, "there is a control byte");
    if (s->at >= s->t->len)
        return;
    if (is_word_end(c)) {
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            s->last = c;
        step(s);
        return;
    }
    size_t begin = s->at;
    while (!is_word_end(peek(s, 0)))
        step(s);
    check_length(s, begin, s->line);
    check_word(s, str_make(s->t->p + begin, s->at - begin));
    s->last = c;
}

static void scan_text(struct scan *s)
{
    while (s->at < s->t->len) {
        char c = peek(s, 0);
        char next = peek(s, 1);
        if (c == '#' || (c == '/' && next == '/')) {
            skip_line_comment(s);
        } else if (c == '/' && next == '*') {
            skip_block_comment(s);
        } else if (c == '"' || c == '\'') {
            text_skip_string(s, c);
            s->last = c;
        } else if (c == '$' && next == '{') {
            check_variable(s);
            s->last = '$';
        } else {
            check_token(s);
        }
    }
    if (s->depth > 0 && s->ok)
        text_fail(s, s->open[s->depth - 1], "this { is not closed");
}

/* LEN bytes at P, which T owns; NAME stands in faults. */
static bool text_check(struct text *t, char *p, size_t len, const char *name,
                       struct conf_faults *faults)
{
    *t = (struct text){.p = p, .len = len};
    struct scan s = {.t = t, .name = name, .faults = faults, .line = 1, .ok = true};
    if (memchr(p, '\0', len) != NULL)
        text_fail(&s, 1, "this is no text: there is a NUL byte; save it as UTF-8");
    else if (len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        text_fail(&s, 1, "it begins with a byte order mark: save it as UTF-8 without one");
    else
        scan_text(&s);
    if (!s.ok)
        text_clear(t);
    return s.ok;
}

bool text_read(struct text *t, struct conf_file **files, const char *path, const char *where,
               struct conf_faults *faults)
{
    size_t len;
    *t = (struct text){0};
    char *p = conf_files_text(files, path, &len);
    if (p != NULL)
        return text_check(t, p, len, path, faults);
    if (strcmp(path, where) == 0)
        conf_fault(faults, where, "cannot read it: %s", strerror(errno));
    else
        conf_fault(faults, where, "cannot read %s: %s", path, strerror(errno));
    return false;
}

void text_clear(struct text *t)
{
    free(t->p);
    free(t->opens);
    *t = (struct text){0};
}

unsigned text_section_line(const struct text *t, unsigned line)
{
    unsigned low = 0, high = t->n_opens; /* the answer stands just before LOW */
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (t->opens[middle] <= line)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? line : t->opens[low - 1];
}
