/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a batch call: see batch_read.h. Here is the array around the elements, and the text
 * around the lines; what one of them says is read in batch_want.c. */
#include "own/batch_read.h"

#include <stdlib.h>

#include "base/mem.h"

enum {
    STEP = 64 * 1024,   /* bytes of text read at a time */
    ITEM_COSTS = 256,   /* bytes of text that an item counts besides its own */
    ELEMENT_FACTOR = 4, /* what an element may have besides its body, in sizes of a head */
    ELEMENT_ALWAYS = 64 * 1024,
    PARSE_FACTOR = 4, /* what parsing may take of memory, in sizes of the text */
    PARSE_ALWAYS = 1024 * 1024
};

static enum batch_read_result reader_bad(struct batch_reader *r, enum fault_code code,
                                         const char *text)
{
    fault_say(&r->fault, code, text);
    return BATCH_READ_BAD;
}

/* Room for one more; NULL with the fault when there are too many. */
static struct batch_want *reader_add(struct batch_reader *r)
{
    if (r->n == r->max_items) {
        fault_set(&r->fault, FAULT_TOO_LARGE, "the batch has more than %u items (batch.max_items)",
                  r->max_items);
        return NULL;
    }
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 16 : 2 * r->cap;
        r->v = xrealloc(r->v, r->cap * sizeof r->v[0]);
    }
    r->v[r->n] = (struct batch_want){0};
    return &r->v[r->n++];
}

static void reader_spend(struct batch_reader *r, size_t n)
{
    r->left -= n < r->left ? n : r->left;
}

/* False when it goes on beyond what this step may look at. */
static bool reader_skip_space(struct batch_reader *r)
{
    size_t from = r->at, left = r->body.len - from;
    size_t until = from + (left < r->left ? left : r->left);
    while (r->at < until && (r->body.p[r->at] == ' ' || r->body.p[r->at] == '\t' ||
                             r->body.p[r->at] == '\r' || r->body.p[r->at] == '\n'))
        r->at++;
    reader_spend(r, r->at - from);
    return r->left > 0;
}

static bool reader_take_byte(struct batch_reader *r, char c)
{
    if (r->at == r->body.len || r->body.p[r->at] != c)
        return false;
    r->at++;
    return true;
}

/* AT counts from the beginning of the body. */
static enum batch_read_result reader_not_json(struct batch_reader *r, size_t at, const char *why)
{
    char shown[200];
    fault_set(&r->fault, FAULT_BAD_REQUEST, "the body is not JSON: item %u, byte %zu: %s", r->n - 1,
              at, str_escape(shown, sizeof shown, str_from(why)));
    r->fault.phrase = "The body is not JSON";
    return BATCH_READ_BAD;
}

/* TEXT is the whole element but for a long body. */
static enum batch_read_result reader_parse_element(struct batch_reader *r, struct str text)
{
    struct batch_want *w = &r->v[r->n - 1];
    struct batch_element e = {.text = text,
                              .memory = PARSE_FACTOR * r->body.len + PARSE_ALWAYS,
                              .is_bad_base64 = r->long_body.is_bad_base64};
    w->body = r->long_body.bytes;
    w->body_len = r->long_body.len;
    r->long_body.bytes = NULL;
    if (batch_want_element(w, &e))
        return BATCH_READ_DONE;
    return reader_not_json(r, batch_rest_place(&r->scan, e.wrong_at), e.why);
}

/* Some of an element: first its end is looked for, then a long body is decoded, then the parser
 * reads the rest. */
static enum batch_read_result reader_take_element(struct batch_reader *r)
{
    size_t before = r->scan.at;
    if (!r->is_found)
        r->is_found = batch_scan_step(&r->scan, r->body, r->left);
    reader_spend(r, r->scan.at - before);
    if (!r->is_found || !batch_body_step(&r->long_body, &r->scan, r->body, &r->left))
        return BATCH_READ_MORE;
    if (r->long_body.text.wrong != NULL)
        return reader_not_json(r, r->long_body.wrong_at, r->long_body.text.wrong);
    size_t n = batch_rest_size(&r->scan);
    if (n > r->max_element) {
        fault_set(&r->fault, FAULT_TOO_LARGE, "item %u has more than %zu bytes besides its body",
                  r->n - 1, r->max_element);
        return BATCH_READ_BAD;
    }
    reader_spend(r, n + ITEM_COSTS);
    r->at = r->scan.at;
    r->place = BATCH_BEHIND;
    if (r->long_body.bytes == NULL)
        return reader_parse_element(r, str_make(r->body.p + r->scan.begin, n));
    char *rest = batch_rest(&r->scan, r->body);
    enum batch_read_result result = reader_parse_element(r, str_make(rest, n));
    free(rest);
    return result;
}

static enum batch_read_result reader_begin_element(struct batch_reader *r)
{
    if (reader_add(r) == NULL)
        return BATCH_READ_BAD;
    batch_scan_init(&r->scan, r->at);
    free(r->long_body.bytes);
    memset(&r->long_body, 0, sizeof r->long_body);
    r->is_found = false;
    r->place = BATCH_INSIDE;
    return BATCH_READ_MORE;
}

/* One thing of the array. MORE: go on. */
static enum batch_read_result reader_step_place(struct batch_reader *r)
{
    switch (r->place) {
    case BATCH_AT_START:
        r->place = BATCH_AT_FIRST;
        return reader_take_byte(r, '[')
                   ? BATCH_READ_MORE
                   : reader_bad(r, FAULT_BAD_REQUEST, "the body is no JSON array");
    case BATCH_AT_FIRST:
        r->place = BATCH_AT_ELEMENT;
        return reader_take_byte(r, ']') ? reader_bad(r, FAULT_BAD_REQUEST, "the batch is empty")
                                        : BATCH_READ_MORE;
    case BATCH_AT_ELEMENT:
        return reader_begin_element(r);
    case BATCH_INSIDE:
        return reader_take_element(r) == BATCH_READ_BAD ? BATCH_READ_BAD : BATCH_READ_MORE;
    case BATCH_BEHIND:
        r->place = reader_take_byte(r, ',') ? BATCH_AT_ELEMENT : BATCH_AT_END;
        return r->place == BATCH_AT_ELEMENT || reader_take_byte(r, ']')
                   ? BATCH_READ_MORE
                   : reader_bad(
                         r, FAULT_BAD_REQUEST,
                         "the body is not JSON: an item is followed by neither a comma nor ]");
    case BATCH_AT_END:
        break;
    }
    if (r->at < r->body.len)
        return reader_bad(r, FAULT_BAD_REQUEST,
                          "the body is not JSON: something follows the array");
    return BATCH_READ_DONE;
}

static enum batch_read_result reader_step_json(struct batch_reader *r)
{
    enum batch_read_result result = BATCH_READ_MORE;
    while (result == BATCH_READ_MORE && r->left > 0) {
        if (r->place == BATCH_INSIDE || reader_skip_space(r))
            result = reader_step_place(r);
    }
    return result;
}

/* The line at r->at, without its end. */
static struct str reader_take_line(struct batch_reader *r)
{
    struct str rest = str_from_byte(r->body, r->at);
    struct str line = str_make(rest.p, str_find(rest, '\n'));
    size_t n = line.len + (line.len < rest.len);
    r->at += n;
    reader_spend(r, n);
    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    return line.len <= r->max_element ? str_trim(line) : line; /* longer, it is no URL anyway */
}

static enum batch_read_result reader_step_text(struct batch_reader *r)
{
    while (r->at < r->body.len && r->left > 0) {
        struct str line = reader_take_line(r);
        if (line.len == 0)
            continue;
        struct batch_want *w = reader_add(r);
        if (w == NULL)
            return BATCH_READ_BAD;
        batch_want_line(w, line, r->max_element);
        reader_spend(r, ITEM_COSTS);
    }
    if (r->at < r->body.len)
        return BATCH_READ_MORE;
    if (r->n == 0)
        return reader_bad(r, FAULT_BAD_REQUEST, "the batch is empty");
    return BATCH_READ_DONE;
}

void batch_read_init(struct batch_reader *r, struct str body, bool is_json, unsigned max_items,
                     size_t max_head)
{
    *r = (struct batch_reader){.body = body,
                               .is_json = is_json,
                               .max_items = max_items,
                               .max_element = ELEMENT_FACTOR * max_head + ELEMENT_ALWAYS};
}

enum batch_read_result batch_read_step(struct batch_reader *r)
{
    r->left = STEP;
    return r->is_json ? reader_step_json(r) : reader_step_text(r);
}

void batch_read_clear(struct batch_reader *r)
{
    for (unsigned i = 0; i < r->n; i++)
        batch_want_clear(&r->v[i]);
    free(r->v);
    free(r->long_body.bytes);
    *r = (struct batch_reader){0};
}
