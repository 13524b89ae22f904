/* SPDX-License-Identifier: Apache-2.0 */
/* What the service listener says as JSON, read again. */
#ifndef TLSFAN_TESTS_JSON_FIXTURE_H
#define TLSFAN_TESTS_JSON_FIXTURE_H

#include "view_fixture.h"

#include <jansson.h>

static inline json_t *load(struct evbuffer *out)
{
    json_error_t error;
    const char *text = view_text(out);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        fail_msg("%s: %s", error.text, text);
    return root;
}

static inline json_int_t number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        fail_msg("%s is no integer", key);
    return json_integer_value(value);
}

static inline const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL)
        fail_msg("%s is no text", key);
    return text == NULL ? "" : text; /* compilers do not know that fail_msg() does not return */
}

#endif
