/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the simple types: booleans, sizes, durations, numbers, words, networks, ports, host
 * names. */
#include "conf/value.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>

#include "base/base64.h"
#include "conf/conf.h"

bool value_fail(char *err, const char *fmt, ...)
{
    if (err == NULL)
        return false;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, VALUE_ERR, fmt, ap);
    va_end(ap);
    return false;
}

/* For messages: what was written, cut and made printable. */
static bool value_fail_at(char *err, struct str text, const char *reason)
{
    char shown[160];
    return value_fail(err, "\"%s\" %s", str_escape(shown, sizeof(shown), text), reason);
}

/* Splits digits from what stands behind them; false without digits or when they overflow. */
static bool split_number(struct str text, uint64_t *v, struct str *unit)
{
    size_t n = 0;
    while (n < text.len && isdigit((unsigned char)text.p[n]))
        n++;
    *unit = str_from_byte(text, n);
    return str_to_u64(str_make(text.p, n), v);
}

/* False when the product is no int64_t. */
static bool scale(uint64_t *v, uint64_t factor)
{
    return !__builtin_mul_overflow(*v, factor, v) && *v <= INT64_MAX;
}

/* libConfuse's own words for booleans. */
static bool set_bool(const struct assign *a, struct str text)
{
    static const char *const words[2][3] = {{"off", "false", "no"}, {"on", "true", "yes"}};
    for (int v = 0; v < 2; v++) {
        for (int i = 0; i < 3; i++) {
            if (!str_ieq(text, str_from(words[v][i])))
                continue;
            *(bool *)a->field = v == 1;
            return true;
        }
    }
    return value_fail_at(a->err, text, "is neither on nor off");
}

static bool set_size(const struct assign *a, struct str text)
{
    uint64_t v;
    struct str unit;
    if (!split_number(text, &v, &unit) || unit.len > 1)
        return value_fail_at(a->err, text, "is no size: write bytes, or a number with k, m or g");
    static const char units[] = "kmg";
    const char *at = unit.len == 0 ? NULL : strchr(units, tolower((unsigned char)unit.p[0]));
    if (unit.len == 1 && (at == NULL || *at == '\0'))
        return value_fail_at(a->err, text, "is no size: its unit must be k, m or g");
    /* k, m, g: 2 to the 10th, 20th, 30th. */
    unsigned shift = at == NULL ? 0 : 10 * (unsigned)(at - units + 1);
    if (!scale(&v, UINT64_C(1) << shift) || v < (uint64_t)a->key->min ||
        v > (uint64_t)a->key->max || v > SIZE_MAX)
        return value_fail(a->err, "must be %lld to %lld bytes", (long long)a->key->min,
                          (long long)a->key->max);
    *(size_t *)a->field = (size_t)v;
    return true;
}

static bool set_duration(const struct assign *a, struct str text)
{
    static const struct choice units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    uint64_t v;
    struct str unit;
    if (!split_number(text, &v, &unit))
        return value_fail_at(a->err, text, "is no duration: write 500ms, 10s, 2m, 1h or 0");
    if (unit.len == 0 && v != 0)
        return value_fail_at(a->err, text, "lacks a unit: ms, s, m or h");
    uint64_t factor = unit.len == 0 ? 1 : 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_eq(unit, str_from(units[i].word)))
            factor = (uint64_t)units[i].value;
    if (factor == 0)
        return value_fail_at(a->err, text, "is no duration: its unit must be ms, s, m or h");
    if (!scale(&v, factor) || v > (uint64_t)a->key->max)
        return value_fail(a->err, "must be at most %lldh", (long long)a->key->max / 3600000);
    *(int64_t *)a->field = (int64_t)v;
    return true;
}

static bool parse_number(const struct key *k, struct str text, uint64_t *v, char *err)
{
    if (!str_to_u64(text, v))
        return value_fail_at(err, text, "is no number");
    if (*v < (uint64_t)k->min || *v > (uint64_t)k->max)
        return value_fail(err, "must be %lld to %lld", (long long)k->min, (long long)k->max);
    return true;
}

static bool set_number(const struct assign *a, struct str text)
{
    uint64_t v;
    if (!parse_number(a->key, text, &v, a->err))
        return false;
    *(unsigned *)a->field = (unsigned)v;
    return true;
}

static bool set_port(const struct assign *a, struct str text)
{
    uint64_t v;
    if (!parse_number(a->key, text, &v, a->err))
        return false;
    *(uint16_t *)a->field = (uint16_t)v;
    return true;
}

/* Those the scheduler lets us use, which in a container may be fewer than there are. */
/* Rounded up, so that there are never more. */
static bool set_rate(const struct assign *a, struct str text)
{
    static const struct {
        struct str unit;
        uint64_t ns;
    } units[] = {{STR_INIT("/s"), UINT64_C(1000000000)},
                 {STR_INIT("/m"), UINT64_C(60000000000)},
                 {STR_INIT("/h"), UINT64_C(3600000000000)}};
    uint64_t v;
    struct str unit;
    *(int64_t *)a->field = 0;
    if (text.len == 0)
        return true;
    for (int i = 0; i < 3 && split_number(text, &v, &unit) && v > 0 && v <= 1000000; i++) {
        if (!str_eq(unit, units[i].unit))
            continue;
        *(int64_t *)a->field = (int64_t)((units[i].ns + v - 1) / v);
        return true;
    }
    return value_fail_at(a->err, text,
                         "is no rate: write 1 to 1000000 requests a second, minute or hour as "
                         "10/s, 10/m or 10/h");
}

static unsigned processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) < 1)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static bool set_workers(const struct assign *a, struct str text)
{
    if (!str_ieq(text, STR("auto")))
        return set_number(a, text);
    *(unsigned *)a->field = processors();
    return true;
}

/* NULL with a reason that lists the words. */
static const struct choice *find_choice(const struct key *k, struct str text, char *err)
{
    char words[128];
    size_t len = 0;
    for (const struct choice *c = k->choices; c->word != NULL; c++) {
        if (str_ieq(text, str_from(c->word)))
            return c;
        len += (size_t)snprintf(words + len, sizeof(words) - len, "%s%s", len == 0 ? "" : ", ",
                                c->word);
    }
    char shown[128];
    value_fail(err, "\"%s\" is none of %s", str_escape(shown, sizeof(shown), text), words);
    return NULL;
}

static bool set_choice(const struct assign *a, struct str text)
{
    const struct choice *c = find_choice(a->key, text, a->err);
    if (c == NULL)
        return false;
    *(int *)a->field = c->value;
    return true;
}

static bool set_flag(const struct assign *a, struct str text)
{
    const struct choice *c = find_choice(a->key, text, a->err);
    if (c == NULL)
        return false;
    *(bool *)a->field = c->value != 0;
    return true;
}

/* Texts end up in logs, paths and lists of ciphers: none of them takes control bytes. */
static bool set_text(const struct assign *a, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
            return value_fail(a->err, "has a control byte in it");
    *(const char **)a->field = arena_dup(a->arena, text).p;
    return true;
}

static bool value_set_secret(const struct assign *a, struct str text)
{
    const char *copy;
    struct assign as_text = *a;
    as_text.field = &copy;
    if (!set_text(&as_text, text))
        return false;
    const char *why = secret_text_parse(a->field, a->arena, text);
    return why == NULL || value_fail(a->err, "%s", why);
}

static bool is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '.' || c == '_';
}

/* Underscores are no host name's, but in use. */
static bool value_name(struct arena *arena, struct str text, const char **host, char *err)
{
    struct str name = text;
    if (name.len > 0 && name.p[name.len - 1] == '.')
        name.len--;
    if (name.len == 0 || name.len > 253 || name.p[0] == '.')
        return value_fail_at(err, text, "is no host name");
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.p[i] >= 0x80)
            return value_fail_at(err, text, "is no host name: write its xn-- form");
        if (!is_name_byte(name.p[i]) || (name.p[i] == '.' && name.p[i - 1] == '.'))
            return value_fail_at(err, text, "is no host name");
    }
    char *lower = arena_alloc(arena, name.len + 1);
    str_lower(lower, name);
    lower[name.len] = '\0';
    *host = lower;
    return true;
}

bool value_host(struct arena *arena, struct str text, const char **host, char *err)
{
    struct str ip = text;
    if (ip.len > 2 && ip.p[0] == '[' && ip.p[ip.len - 1] == ']')
        ip = str_make(ip.p + 1, ip.len - 2);
    /* One spelling of an address, or "::0001" would be another host than "::1". */
    struct addr a;
    if (!addr_parse_ip(&a, ip, 0) || (ip.len != text.len && addr_family(&a) != AF_INET6))
        return value_name(arena, text, host, err);
    char shown[ADDR_TEXT];
    *host = arena_dup(arena, str_from(addr_print_ip(&a, shown))).p;
    return true;
}

bool value_pattern(struct arena *arena, struct str text, const char **host, char *err)
{
    if (str_eq(text, STR("*"))) {
        *host = "*";
        return true;
    }
    if (!str_starts(text, STR("*.")))
        return value_host(arena, text, host, err);
    const char *name = NULL;
    if (!value_name(arena, str_from_byte(text, 2), &name, err))
        return false;
    *host = arena_printf(arena, "*.%s", name).p;
    return true;
}

bool value_port(struct str text, uint16_t *port, char *err)
{
    uint64_t v;
    if (!str_to_u64(text, &v) || v == 0 || v > 65535)
        return value_fail_at(err, text, "is no port: 1 to 65535");
    *port = (uint16_t)v;
    return true;
}

bool value_split(struct str text, struct str *host, struct str *port)
{
    *host = text;
    *port = STR("");
    size_t colon = str_find(text, ':');
    struct addr a;
    if (text.len > 0 && text.p[0] == '[') {
        size_t end = str_find(text, ']');
        *host = str_make(text.p + 1, end - 1);
        struct str rest = str_from_byte(text, end + 1);
        if (end == text.len || !addr_parse_ip(&a, *host, 0))
            return false;
        *port = str_from_byte(rest, 1);
        return rest.len == 0 || (rest.p[0] == ':' && port->len > 0);
    }
    if (colon == text.len || addr_parse_ip(&a, text, 0))
        return text.len > 0;
    *host = str_make(text.p, colon);
    *port = str_from_byte(text, colon + 1);
    return colon > 0 && port->len > 0;
}

/* Empty where a host need not be given. */
static bool set_host(const struct assign *a, struct str text)
{
    return text.len == 0 ? set_text(a, text) : value_host(a->arena, text, a->field, a->err);
}

static bool set_nets(const struct assign *a, struct str text)
{
    if (netset_add(a->field, text))
        return true;
    return value_fail_at(
        a->err, text,
        "is no network: write 10.0.0.0/8, fd00::/8, an address, or loopback, private, "
        "linklocal, any");
}

static bool set_ports(const struct assign *a, struct str text)
{
    struct list_of_ports *list = a->field;
    uint16_t port = 0;
    if (!value_port(text, &port, a->err))
        return false;
    list->v = arena_grow(a->arena, list->v, list->n, sizeof(list->v[0]));
    list->v[list->n++] = port;
    return true;
}

static bool set_hosts(const struct assign *a, struct str text)
{
    struct strings *list = a->field;
    const char *host = NULL;
    if (!value_pattern(a->arena, text, &host, a->err)) {
        bool has_more = str_find(text, ':') < text.len || str_find(text, '/') < text.len;
        return has_more && value_fail_at(a->err, text,
                                         "is no host name: write it without scheme, "
                                         "port and path");
    }
    list->v = arena_grow(a->arena, list->v, list->n, sizeof(list->v[0]));
    list->v[list->n++] = host;
    return true;
}

static bool set_pins(const struct assign *a, struct str text)
{
    struct list_of_pins *list = a->field;
    struct pin pin;
    size_t len = 0;
    /* base64_decode() takes what lacks its padding: such a one was cut off by somebody. */
    if (text.len != base64_encoded(sizeof(pin.sha256)) ||
        !base64_decode((char *)pin.sha256, sizeof(pin.sha256), text, &len) ||
        len != sizeof(pin.sha256))
        return value_fail_at(a->err, text,
                             "is no pin: write the 44 characters of Base64 that a SHA-256 is, as "
                             "openssl dgst -sha256 -binary | base64 gives it");
    list->v = arena_grow(a->arena, list->v, list->n, sizeof(list->v[0]));
    list->v[list->n++] = pin;
    return true;
}

bool value_set(struct arena *arena, const struct key *k, void *base, struct str text, char *err)
{
    static bool (*const setters[KEY_TYPES])(const struct assign *, struct str) = {
        [KEY_BOOL] = set_bool,
        [KEY_SIZE] = set_size,
        [KEY_DURATION] = set_duration,
        [KEY_NUMBER] = set_number,
        [KEY_PORT] = set_port,
        [KEY_RATE] = set_rate,
        [KEY_CHOICE] = set_choice,
        [KEY_FLAG] = set_flag,
        [KEY_TEXT] = set_text,
        [KEY_HOST] = set_host,
        [KEY_WORKERS] = set_workers,
        [KEY_BIND] = value_set_bind,
        [KEY_CONNECT] = value_set_connect,
        [KEY_TO] = value_set_to,
        [KEY_SERVICE] = value_set_service,
        [KEY_PARENT] = value_set_parent,
        [KEY_TOKEN] = value_set_token,
        [KEY_SECRET] = value_set_secret,
        [KEY_NETS] = set_nets,
        [KEY_PORTS] = set_ports,
        [KEY_HOSTS] = set_hosts,
        [KEY_SERVERS] = value_set_servers,
        [KEY_ORIGINS] = value_set_origins,
        [KEY_LISTEN] = value_set_listen,
        [KEY_CONNECT_TO] = value_set_connect_to,
        [KEY_EDITS] = value_set_edits,
        [KEY_PINS] = set_pins,
        [KEY_BYPASS] = value_set_bypass,
    };
    struct assign a = {.arena = arena, .key = k, .field = (char *)base + k->offset, .err = err};
    return setters[k->type](&a, text);
}
