/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: what a token endpoint answers, the first byte being its status, and the same
 * bytes as a text of the configuration with secrets in it. Nothing of either may end a field. */
#include <stdlib.h>

#include "conf/secret_text.h"
#include "own/json_limit.h"
#include "own/token_read.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_answer(unsigned status, struct str text, struct arena *arena)
{
    static const struct secret_store store;
    static const struct oauth_conf conf = {.name = "n",
                                           .store = &store,
                                           .host = "h.test",
                                           .value = "hunter2",
                                           .encoded = STR_INIT("hunter2"),
                                           .authorization = STR_INIT("Basic aHVudGVyMg==")};
    struct token_answer a;
    token_read(&a, &conf, status, text, arena);
    if (a.token.p == NULL) {
        must(a.fault.code == FAULT_TOKEN && strlen(a.fault.text) > 0);
        must(strstr(a.fault.text, "hunter2") == NULL && strstr(a.fault.text, "aHVudGVyMg") == NULL);
        return;
    }
    must(status == 200 && a.token.len > 0 && a.token.len <= 16384 && a.lifetime >= 0);
    for (size_t i = 0; i < a.token.len; i++)
        must(a.token.p[i] > ' ' && a.token.p[i] < 0x7f);
}

static void check_text(struct str text, struct arena *arena)
{
    struct secret_text t;
    size_t len = 0;
    if (secret_text_parse(&t, arena, text) != NULL)
        return;
    for (unsigned i = 0; i < t.n; i++) {
        must(t.parts[i].text[0] != '\0');
        len += strlen(t.parts[i].text);
    }
    must(len <= text.len);
    if (!t.is_secret)
        must(strlen(secret_text_plain(&t, arena)) == len);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    json_limit_install();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    if (size == 0)
        return 0;
    struct str text = str_make((const char *)data + 1, size - 1);
    check_answer(data[0] == '2' ? 200 : 400, text, &arena);
    if (memchr(text.p, '\0', text.len) == NULL)
        check_text(text, &arena);
    arena_clear(&arena);
    return 0;
}
