/* SPDX-License-Identifier: Apache-2.0 */
/* How long a message body is, first match (RFC 9112 §6.3):
 *
 *     response to HEAD, 1xx, 204, 304, 2xx to CONNECT      none
 *     Transfer-Encoding: chunked                           chunked
 *     Content-Length: N                                    N bytes
 *     request                                              none
 *     response                                             until the connection closes
 *
 * Refused on purpose, since another reader may see another length: Content-Length twice, as a list,
 * or together with Transfer-Encoding; any Transfer-Encoding but exactly "chunked", or in HTTP/1.0.
 *
 * From an old origin to which a rule is lenient: all numbers of all Content-Length fields may be
 * the same, and "identity" as the only Transfer-Encoding is as none. */
#include "http/chars.h"
#include "http/h1_body.h"

enum { MAX_TRAILER = 64 * 1024 }; /* bytes, unless the owner says otherwise */

static bool framing_refuse(struct h1_error *e, enum fault_code code, const char *reason)
{
    *e = (struct h1_error){.code = code, .reason = reason};
    return false;
}

/* A Transfer-Encoding that is not "chunked": another coding under it is merely not implemented, but
 * when chunked is not last and once, nobody knows where the message ends. */
static bool refuse_coding(struct str codings, struct h1_error *e)
{
    unsigned chunked = 0;
    struct str item = {NULL, 0}, last = {NULL, 0};
    while (str_next_item(&codings, &item)) {
        last = item;
        chunked += str_ieq(item, STR("chunked"));
    }
    bool is_token = last.len > 0;
    for (size_t i = 0; i < last.len; i++)
        is_token = is_token && chars_is(last.p[i], CHAR_TOKEN);
    if (is_token && (chunked == 0 || (chunked == 1 && str_ieq(last, STR("chunked")))))
        return framing_refuse(e, FAULT_NOT_IMPLEMENTED, "a transfer coding other than chunked");
    return framing_refuse(e, FAULT_BAD_REQUEST, "a Transfer-Encoding that is not just \"chunked\"");
}

static bool choose_chunked(struct h1_body *b, const struct h1_head *head, struct h1_error *e)
{
    const struct field *te = fields_find(&head->fields, FIELD_TRANSFER_ENCODING, NULL);
    if (fields_has(&head->fields, FIELD_CONTENT_LENGTH))
        return framing_refuse(e, FAULT_BAD_REQUEST,
                              "Content-Length together with Transfer-Encoding");
    if (head->minor == 0)
        return framing_refuse(e, FAULT_BAD_REQUEST, "Transfer-Encoding in an HTTP/1.0 message");
    if (fields_find(&head->fields, FIELD_TRANSFER_ENCODING, te) != NULL)
        return framing_refuse(e, FAULT_BAD_REQUEST, "Transfer-Encoding twice");
    if (!str_ieq(te->value, STR("chunked")))
        return refuse_coding(te->value, e);
    b->framing = H1_FRAMING_CHUNKED;
    return true;
}

/* The number that all Content-Length fields, which may be lists, have in common; empty when they
 * differ. */
static struct str same_length(const struct fields *fields)
{
    struct str same = {NULL, 0};
    const struct field *f = NULL;
    while ((f = fields_find(fields, FIELD_CONTENT_LENGTH, f)) != NULL) {
        struct str list = f->value;
        for (bool more = true; more;) {
            size_t comma = str_find(list, ',');
            struct str item = str_trim(str_make(list.p, comma));
            if (same.p != NULL && !str_eq(item, same))
                return STR("");
            same = item;
            more = comma < list.len;
            list = str_from_byte(list, more ? comma + 1 : comma);
        }
    }
    return same;
}

static bool choose_length(struct h1_body *b, const struct h1_head *head, struct h1_error *e)
{
    const struct field *first = fields_find(&head->fields, FIELD_CONTENT_LENGTH, NULL);
    struct str length = b->lenient ? same_length(&head->fields) : first->value;
    bool is_twice = fields_find(&head->fields, FIELD_CONTENT_LENGTH, first) != NULL;
    if (is_twice && !b->lenient)
        return framing_refuse(e, FAULT_BAD_REQUEST, "Content-Length twice");
    if (length.len == 0 && first->value.len > 0)
        return framing_refuse(e, FAULT_BAD_REQUEST, "Content-Length with different values");
    /* Half of the range, so that a sum of it and something small cannot overflow anywhere. */
    if (!str_to_u64(length, &b->length) || b->length > INT64_MAX)
        return framing_refuse(e, FAULT_BAD_REQUEST, "a Content-Length that is not a plain number");
    b->framing = H1_FRAMING_LENGTH;
    b->left = b->length;
    return true;
}

/* Transfer-Encoding says nothing: it is there once, with the coding that changes nothing. */
static bool is_identity(const struct fields *fields)
{
    const struct field *te = fields_find(fields, FIELD_TRANSFER_ENCODING, NULL);
    return te != NULL && str_ieq(te->value, STR("identity")) &&
           fields_find(fields, FIELD_TRANSFER_ENCODING, te) == NULL;
}

/* What requests and responses have in common; OTHERWISE is the framing when no field tells. */
static bool framing_choose(struct h1_body *b, const struct h1_head *head, enum h1_framing otherwise,
                           bool lenient, struct h1_error *e)
{
    *b = (struct h1_body){.framing = otherwise,
                          .lenient = lenient,
                          .max_trailer = MAX_TRAILER,
                          .fault = FAULT_BAD_REQUEST};
    if (fields_has(&head->fields, FIELD_TRANSFER_ENCODING) &&
        !(lenient && is_identity(&head->fields)))
        return choose_chunked(b, head, e);
    if (fields_has(&head->fields, FIELD_CONTENT_LENGTH))
        return choose_length(b, head, e);
    return true;
}

/* One Content-Length, one number, and no "identity" are left: what goes on is strict. */
static void tidy(struct fields *fields)
{
    const struct field *length = fields_find(fields, FIELD_CONTENT_LENGTH, NULL);
    if (length != NULL)
        fields_set(fields, FIELD_CONTENT_LENGTH, length->name, same_length(fields));
    if (is_identity(fields))
        fields_remove(fields, FIELD_TRANSFER_ENCODING);
}

bool h1_body_of_request(struct h1_body *b, const struct h1_head *head, struct h1_error *e)
{
    return framing_choose(b, head, H1_FRAMING_NONE, false, e);
}

bool h1_body_of_response(struct h1_body *b, struct h1_head *head, enum method_id method,
                         bool lenient, struct h1_error *e)
{
    bool is_tunnel = method == METHOD_CONNECT && head->status / 100 == 2;
    if (head->status < 200 || head->status == 204 || is_tunnel) {
        *b = (struct h1_body){.framing = H1_FRAMING_NONE};
        return true;
    }
    if (!framing_choose(b, head, H1_FRAMING_CLOSE, lenient, e)) {
        struct h1_body loose;
        struct h1_error other;
        e->code = FAULT_UP_PROTOCOL;
        e->lenient_takes = !lenient && framing_choose(&loose, head, H1_FRAMING_CLOSE, true, &other);
        return false;
    }
    if (lenient)
        tidy(&head->fields);
    b->fault = FAULT_UP_PROTOCOL;
    /* Their fields tell of the body that a GET would have had. */
    if (method == METHOD_HEAD || head->status == 304)
        b->framing = H1_FRAMING_NONE;
    return true;
}
