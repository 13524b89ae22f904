/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of keys. The parser's option tree, the environment, -o, -T, the example file's test
 * and the defaults all come from it: a key is added here and nowhere else. */
#ifndef TLSFAN_CONF_KEYS_H
#define TLSFAN_CONF_KEYS_H

#include "base/str.h"

/* What a value looks like; conf/value.c has a function for each. */
enum key_type {
    KEY_BOOL,     /* bool: on, off */
    KEY_SIZE,     /* size_t bytes: 64k, 1m, 1g */
    KEY_DURATION, /* int64_t ms: 500ms, 10s, 2m, 1h, 0 */
    KEY_NUMBER,   /* unsigned */
    KEY_PORT,     /* uint16_t */
    KEY_CHOICE,   /* int: one of `choices` */
    KEY_FLAG,     /* bool: one of `choices` */
    KEY_TEXT,     /* const char * */
    KEY_HOST,     /* const char *: a name or an IP literal, lower case */
    KEY_WORKERS,  /* unsigned: a number or auto */
    KEY_BIND,     /* struct upstream_conf.bind4 and bind6 */
    KEY_CONNECT,  /* struct rule.connect_host and connect_port */
    KEY_TO,       /* struct forward: the URL */
    KEY_RATE,     /* int64_t ns between two: 10/s, 10/m, 10/h, "" */
    KEY_SERVICE,  /* struct conf.listeners: ADDR:PORT, or off */
    KEY_PARENT,   /* struct parent *: a URL, or none */
    KEY_TOKEN,    /* struct oauth_conf: the URL of its endpoint */
    KEY_SECRET,   /* struct secret_text */
    /* lists */
    KEY_NETS,       /* struct netset */
    KEY_PORTS,      /* struct list_of_ports */
    KEY_HOSTS,      /* struct strings: names, "*.suffix", IP literals */
    KEY_SERVERS,    /* struct strings: ADDR or ADDR:PORT */
    KEY_ORIGINS,    /* struct strings: scheme://host[:port] */
    KEY_LISTEN,     /* struct conf.listeners */
    KEY_CONNECT_TO, /* struct conf.connect_to */
    KEY_EDITS,      /* struct rule.edits */
    KEY_PINS,       /* struct list_of_pins */
    KEY_BYPASS,     /* struct bypass: hosts and networks */
    KEY_TYPES
};

/* Which struct a key is written to, and in which section it may stand. */
enum key_scope {
    KEY_GLOBAL,  /* outside the others */
    KEY_RULE,    /* rule "PATTERN" { } */
    KEY_FORWARD, /* forward "LISTENER" { } */
    KEY_OAUTH,   /* oauth "NAME" { } */
    KEY_SCOPES
};

/* What a key of a rule decides of TLS with an origin, each with all that stands before it: rules
 * that differ in it have another store of certificates, or another context. */
enum key_decides {
    DECIDES_NOTHING, /* that a context holds: what is left is set connection by connection */
    DECIDES_CONTEXT,
    DECIDES_TRUST, /* which certificates are trusted, by a context, too */
};

/* A word that stands for a number; tables end with a NULL word. */
struct choice {
    const char *word;
    int value;
};

struct key {
    const char *name; /* dotted for KEY_GLOBAL: "client.allow"; else the plain name */
    enum key_type type;
    bool in_base;   /* KEY_GLOBAL kept in rules[0], where rules inherit it from */
    bool inherits;  /* KEY_RULE: an empty text, or 0, takes the value of the in_base key */
    bool is_secret; /* -T masks it */
    bool at_start;  /* KEY_GLOBAL, an unsigned: a reload keeps what it was, and says so */
    enum key_decides decides;
    size_t offset;    /* of the field in struct conf, rule, forward or oauth_conf */
    const char *def;  /* as text; elements of a list divided by ", " */
    int64_t min, max; /* of KEY_SIZE, KEY_DURATION (ms), KEY_NUMBER, KEY_PORT */
    const struct choice *choices;
    const char *help; /* one line, for who reads the table */
};

/* What a section of SCOPE is called; "" for KEY_GLOBAL. */
const char *key_section(enum key_scope scope);

/* The keys of SCOPE, in the order of the example file; N gets their number. */
const struct key *keys_of(enum key_scope scope, unsigned *n);

/* NULL when there is none of that name. */
const struct key *key_find(enum key_scope scope, struct str name);

bool key_is_list(const struct key *k);

/* "TLSFAN_CLIENT_ALLOW" in DST, which holds KEY_ENV_MAX bytes; gives DST. Only for KEY_GLOBAL. */
enum { KEY_ENV_MAX = 80 };
const char *key_env_name(const struct key *k, char *dst);

/* The key whose environment variable is called NAME; NULL when there is none. */
const struct key *key_find_env(struct str name);

#endif
