/* SPDX-License-Identifier: Apache-2.0 */
/* htpasswd files. A bcrypt check takes 50 ms by design, a request a thousandth of that; so pairs
 * that were right are remembered as 128-bit SipHash-2-4 digests under a key of this process, which
 * tell nothing about a password to who does not have the key, and cannot be aimed at one set of the
 * table. They outlive a reload; as the hash of the user's line is part of a digest, who has a new
 * line, or none any more, is not known by it. */
#include "conf/htpasswd.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/sip.h"
#include "conf/files.h"

enum { SETS = 256, WAYS = 4, LINE_LIMIT = 4096 };

struct user {
    UT_hash_handle hh;
    char *name;
    char *hash;
    struct auth_digest line; /* of `hash` */
};

/* Two words that are written one after the other: a reader that sees the halves of different pairs
 * finds a digest that belongs to nobody. */
struct remembered {
    _Atomic uint64_t low, high;
};

struct htpasswd {
    struct user *users;
};

/* What is remembered, of all files. The key is made at the first load and stays. */
static struct {
    uint64_t key[2];
    bool has_key;
    struct remembered pairs[SETS][WAYS];
    _Atomic unsigned turn; /* which way is overwritten next */
} memory;

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static uint64_t sip_end(uint64_t v[4])
{
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012), of BEFORE and S. */
static struct auth_digest digest_of(struct auth_digest before, struct str s)
{
    const uint64_t *key = memory.key;
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575),
                     key[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;
    sip_word(v, before.low);
    sip_word(v, before.high);
    for (size_t i = 0; i < s.len; i++) {
        word |= (uint64_t)(unsigned char)s.p[i] << (i % 8 * 8);
        if (i % 8 != 7)
            continue;
        sip_word(v, word);
        word = 0;
    }
    sip_word(v, word | (uint64_t)s.len << 56);
    struct auth_digest d;
    v[2] ^= 0xee;
    d.low = sip_end(v);
    v[1] ^= 0xdd;
    d.high = sip_end(v);
    return d;
}

/* NULL: there is no such user. */
static const struct user *user_of(const struct htpasswd *h, struct str pair)
{
    struct user *u = NULL;
    HASH_FIND(hh, h->users, pair.p, str_find(pair, ':'), u);
    return u;
}

struct auth_digest htpasswd_digest(const struct htpasswd *h, struct str pair)
{
    const struct user *u = user_of(h, pair);
    return digest_of(u == NULL ? (struct auth_digest){0, 0} : u->line, pair);
}

static bool remembers(struct auth_digest d)
{
    const struct remembered *set = memory.pairs[d.low % SETS];
    for (int i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&set[i].low, memory_order_relaxed) == d.low &&
            atomic_load_explicit(&set[i].high, memory_order_relaxed) == d.high)
            return true;
    return false;
}

bool htpasswd_knows(const struct htpasswd *h, struct str pair)
{
    return remembers(htpasswd_digest(h, pair));
}

static void remember(struct auth_digest d)
{
    if (remembers(d))
        return;
    unsigned way = atomic_fetch_add_explicit(&memory.turn, 1, memory_order_relaxed) % WAYS;
    struct remembered *r = &memory.pairs[d.low % SETS][way];
    atomic_store_explicit(&r->low, d.low, memory_order_relaxed);
    atomic_store_explicit(&r->high, d.high, memory_order_relaxed);
}

static bool equal_in_constant_time(const char *a, const char *b)
{
    size_t len = strlen(a);
    if (len != strlen(b))
        return false;
    unsigned char differs = 0;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return differs == 0;
}

bool htpasswd_check(const struct htpasswd *h, struct str pair)
{
    size_t colon = str_find(pair, ':');
    if (colon == pair.len)
        return false;
    const struct user *u = user_of(h, pair);
    /* Somebody's hash is computed anyway: time must not tell whether a user exists. */
    const char *hash = u != NULL ? u->hash : h->users->hash;
    struct crypt_data *data = xcalloc(1, sizeof(*data));
    const char *made = crypt_r(pair.p + colon + 1, hash, data);
    bool ok = made != NULL && made[0] != '*' && equal_in_constant_time(made, hash) && u != NULL;
    explicit_bzero(data, sizeof(*data));
    free(data);
    if (ok)
        remember(htpasswd_digest(h, pair));
    return ok;
}

static bool is_taken_hash(struct str hash)
{
    bool is_bcrypt = str_starts(hash, STR("$2y$")) || str_starts(hash, STR("$2b$")) ||
                     str_starts(hash, STR("$2a$"));
    if (is_bcrypt)
        return hash.len == 60;
    /* $5$[rounds=N$]SALT$HASH, the last 43 characters long; 86 for $6$. */
    bool is_sha256 = str_starts(hash, STR("$5$"));
    if (!is_sha256 && !str_starts(hash, STR("$6$")))
        return false;
    size_t len = is_sha256 ? 43 : 86;
    return hash.len > len + 3 && hash.p[hash.len - len - 1] == '$';
}

/* One line, "user:hash". */
static void add_line(struct htpasswd *h, struct str line, const char *where,
                     struct conf_faults *faults)
{
    size_t colon = str_find(line, ':');
    struct str name = str_make(line.p, colon);
    struct str hash = str_from_byte(line, colon + 1);
    hash.len = str_find(hash, ':');
    char shown[256];
    str_escape(shown, sizeof(shown), name);
    if (colon == line.len || colon == 0) {
        conf_fault(faults, where, "this is not USER:HASH");
        return;
    }
    if (!is_taken_hash(hash)) {
        conf_fault(faults, where,
                   "the password of %s has a hash that is not taken: make it with htpasswd -B",
                   shown);
        return;
    }
    struct user *u = NULL;
    HASH_FIND(hh, h->users, name.p, name.len, u);
    if (u != NULL) {
        conf_fault(faults, where, "user %s is there twice", shown);
        return;
    }
    u = xcalloc(1, sizeof(*u));
    u->name = xstrndup(name.p, name.len);
    u->hash = xstrndup(hash.p, hash.len);
    u->line = digest_of((struct auth_digest){0, 0}, hash);
    HASH_ADD_KEYPTR(hh, h->users, u->name, name.len, u);
}

static void read_lines(struct htpasswd *h, struct str text, const char *path,
                       struct conf_faults *faults)
{
    for (unsigned n = 1; text.len > 0; n++) {
        char *where = xasprintf("%s:%u", path, n);
        struct str s = str_make(text.p, str_find(text, '\n'));
        text = str_from_byte(text, s.len + 1);
        while (s.len > 0 && strchr("\r \t", s.p[s.len - 1]) != NULL)
            s.len--;
        if (s.len > LINE_LIMIT)
            conf_fault(faults, where, "this line is too long");
        else if (s.len > 0 && s.p[0] != '#')
            add_line(h, s, where, faults);
        free(where);
    }
}

/* At the key, where the file's own lines cannot be named. */
static void PRINTF_LIKE(3, 4)
    load_fault(struct conf_faults *faults, const char *where, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    conf_key_fault(faults, where, "client.auth_file", text);
}

/* Once: what is remembered under a key is lost with it. */
static bool htpasswd_make_key(void)
{
    if (!memory.has_key)
        memory.has_key =
            getrandom(memory.key, sizeof(memory.key), 0) == (ssize_t)sizeof(memory.key);
    return memory.has_key;
}

struct htpasswd *htpasswd_load(struct conf_file **files, const char *path, const char *where,
                               struct conf_faults *faults)
{
    unsigned before = faults->n;
    size_t len;
    if (!htpasswd_make_key()) {
        load_fault(faults, where, "no random numbers: %s", strerror(errno));
        return NULL;
    }
    char *text = conf_files_read(files, path, &len);
    if (text == NULL) {
        load_fault(faults, where, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    struct htpasswd *h = xcalloc(1, sizeof(*h));
    read_lines(h, str_make(text, len), path, faults);
    explicit_bzero(text, len);
    free(text);
    if (h->users == NULL && faults->n == before)
        load_fault(faults, where, "%s has no users", path);
    if (faults->n > before) {
        htpasswd_free(h);
        return NULL;
    }
    return h;
}

void htpasswd_free(struct htpasswd *h)
{
    if (h == NULL)
        return;
    struct user *u = NULL;
    struct user *next = NULL;
    HASH_ITER (hh, h->users, u, next) {
        HASH_DEL(h->users, u);
        free(u->name);
        free(u->hash);
        free(u);
    }
    free(h);
}
