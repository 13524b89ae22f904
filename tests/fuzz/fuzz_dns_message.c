/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: queries of the DNS. Each answer fits, and with its mark as an answer taken away
 * it is a query that asks the same. */
#include <stdlib.h>

#include "http/chars.h"
#include "net/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_asked(const struct dns_asked *q)
{
    must(q->name_len <= DNS_WIRE_NAME - 2 && q->question_len <= DNS_QUESTION);
    must(q->is_plain || q->name_len == 0);
    for (size_t i = 0; i < q->name_len; i++)
        must(chars_is(q->name[i], CHAR_HOST) && !(q->name[i] >= 'A' && q->name[i] <= 'Z'));
}

static void check_answer(const struct dns_asked *q, const struct dns_reply *r)
{
    uint8_t out[DNS_ANSWER_SIZE];
    struct dns_asked again;
    size_t n = dns_message_write(out, q, r);
    must(n <= sizeof(out) && n >= DNS_QUERY_HEAD);
    must(dns_message_parse(&again, out, n) == DNS_CODE_SILENT);
    out[2] &= 0x7f;
    enum dns_code code = dns_message_parse(&again, out, n);
    must(again.id == q->id);
    if (q->question_len == 0 || code == DNS_CODE_NOTIMP)
        return;
    must(code == DNS_CODE_NOERROR && again.question_len == q->question_len);
    must(memcmp(again.question, q->question, q->question_len) == 0);
    must(again.has_opt == q->has_opt && again.wants_dnssec == q->wants_dnssec);
    must(str_eq(dns_asked_name(&again), dns_asked_name(q)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_asked q;
    struct addr a;
    enum dns_code code = dns_message_parse(&q, data, size);
    check_asked(&q);
    if (code == DNS_CODE_SILENT)
        return 0;
    struct dns_reply r = {.code = code, .ttl = 5};
    check_answer(&q, &r);
    r.pointer = str_make((const char *)data, size);
    check_answer(&q, &r);
    for (int i = 0; i < 2; i++) {
        must(addr_parse_ip(&a, i == 0 ? STR("198.18.0.1") : STR("::1"), 0));
        r.address = &a;
        check_answer(&q, &r);
    }
    return 0;
}
