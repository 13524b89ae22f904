/* SPDX-License-Identifier: Apache-2.0 */
/* What a token endpoint answers (RFC 6749 §5): see token_read.h. */
#include "own/token_read.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>

#include "own/json_limit.h"

enum {
    JSON_MEMORY = 1 << 20, /* bytes that an answer may cost in memory */
    TOKEN_MAX = 16384,     /* bytes of a token */
    SHOWN = 200,           /* bytes of a description in an error text, and a word */
    WORD = 60
};
#define LIFETIME_DEFAULT 300000LL             /* ms: what the answer does not say */
#define LIFETIME_MOST    (366LL * 86400000LL) /* ms */

static struct str token_no(struct fault *f, const struct oauth_conf *o, const char *why)
{
    fault_set(f, FAULT_TOKEN, "no access token for oauth \"%.60s\": %.100s %s", o->name, o->host,
              why);
    return str_make(NULL, 0);
}

/* A b64token (RFC 6750 §2.1): nothing that could end a field. */
static bool token_is_good(struct str s)
{
    size_t n = s.len;
    while (n > 0 && s.p[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s.p[i]) && strchr("-._~+/", s.p[i]) == NULL)
            return false;
    return n > 0 && s.len <= TOKEN_MAX && memchr(s.p, '\0', s.len) == NULL;
}

/* A number, in quotes with some servers. */
static int64_t token_lifetime(const json_t *answer)
{
    const json_t *v = json_object_get(answer, "expires_in");
    uint64_t seconds = 0;
    if (json_is_number(v)) {
        double d = json_number_value(v);
        return d < 0 ? 0 : d * 1000 > (double)LIFETIME_MOST ? LIFETIME_MOST : (int64_t)(d * 1000);
    }
    if (!json_is_string(v) ||
        !str_to_u64(str_make(json_string_value(v), json_string_length(v)), &seconds))
        return LIFETIME_DEFAULT;
    return seconds > LIFETIME_MOST / 1000 ? LIFETIME_MOST : (int64_t)seconds * 1000;
}

static struct str token_text(const json_t *answer, const char *name)
{
    const json_t *v = json_object_get(answer, name);
    return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR("");
}

static bool token_has(struct str text, struct str secret)
{
    return secret.len > 0 && memmem(text.p, text.len, secret.p, secret.len) != NULL;
}

/* Some servers repeat what they were sent, which a rule may have added to. */
static bool token_is_told(const struct oauth_conf *o, struct str text)
{
    struct str pair = str_from_byte(o->authorization, sizeof("Basic ") - 1);
    while (pair.len > 0 && pair.p[pair.len - 1] == '=')
        pair.len--;
    return secret_store_is_told(o->store, text) || token_has(text, str_from(o->value)) ||
           token_has(text, o->encoded) || token_has(text, pair);
}

static const char *token_shown(char *dst, size_t most, const struct oauth_conf *o, struct str text)
{
    if (token_is_told(o, text))
        text = STR("(it repeats the secret)");
    text.len = text.len < most ? text.len : most;
    return str_escape(dst, SHOWN + 1, text);
}

static struct str token_refusal(struct fault *f, const struct oauth_conf *o, unsigned status,
                                const json_t *answer)
{
    char error[SHOWN + 1], description[SHOWN + 1];
    struct str word = token_text(answer, "error");
    struct str text = token_text(answer, "error_description");
    token_shown(error, WORD, o, word);
    token_shown(description, SHOWN, o, text);
    char *why = xasprintf("answered %u%s%s%s%s", status, word.len > 0 ? " " : "", error,
                          text.len > 0 ? ": " : "", description);
    struct str none = token_no(f, o, why);
    free(why);
    return none;
}

static struct str token_of_type(struct fault *f, const struct oauth_conf *o, struct str type)
{
    char shown[SHOWN + 1];
    char *why = xasprintf("gave a token of type %s, which is not Bearer",
                          token_shown(shown, WORD, o, type));
    struct str none = token_no(f, o, why);
    free(why);
    return none;
}

static struct str token_of(const struct oauth_conf *o, const json_t *answer, struct arena *arena,
                           struct fault *f)
{
    struct str type = token_text(answer, "token_type");
    struct str token = token_text(answer, "access_token");
    if (token.len == 0 && token_text(answer, "error").len > 0)
        return token_refusal(f, o, 200, answer); /* as some servers tell it */
    if (token.len == 0)
        return token_no(f, o, "answered 200 without an access_token");
    if (type.len > 0 && !str_ieq(type, STR("Bearer")))
        return token_of_type(f, o, type);
    if (!token_is_good(token))
        return token_no(f, o, "gave a token with bytes that no token has, or of more than 16 KiB");
    return arena_dup(arena, token);
}

void token_read(struct token_answer *a, const struct oauth_conf *o, unsigned status,
                struct str text, struct arena *arena)
{
    json_limit_set(JSON_MEMORY);
    const char *p = text.p == NULL ? "" : text.p;
    json_t *answer = json_loadb(p, text.len, JSON_DECODE_INT_AS_REAL, NULL);
    if (status != 200)
        a->token = token_refusal(&a->fault, o, status, answer);
    else if (!json_is_object(answer))
        a->token = token_no(&a->fault, o, "answered 200 with something that is no JSON object");
    else
        a->token = token_of(o, answer, arena, &a->fault);
    a->lifetime = token_lifetime(answer);
    json_decref(answer);
    json_limit_clear();
}
