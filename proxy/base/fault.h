/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, as a value: made once where it is detected, carried up unchanged, told once.
 * The table in fault.c is the one place that knows a fault's status, Proxy-Status type (RFC 9209
 * §2.3) and word. */
#ifndef TLSFAN_BASE_FAULT_H
#define TLSFAN_BASE_FAULT_H

#include <stdarg.h>

#include "base/str.h"

enum fault_code {
    FAULT_NONE,
    FAULT_DNS,                 /* 502 dns_error */
    FAULT_TOKEN,               /* 502 destination_unavailable: no access token */
    FAULT_DNS_TIMEOUT,         /* 504 dns_timeout */
    FAULT_REFUSED,             /* 502 connection_refused */
    FAULT_UNROUTABLE,          /* 502 destination_ip_unroutable */
    FAULT_CONNECT_TIMEOUT,     /* 504 connection_timeout */
    FAULT_TLS_CERTIFICATE,     /* 502 tls_certificate_error */
    FAULT_TLS_PROTOCOL,        /* 502 tls_protocol_error */
    FAULT_TLS_ALERT,           /* 502 tls_alert_received */
    FAULT_PARENT,              /* 502 destination_unavailable: the parent proxy refused */
    FAULT_UP_CLOSED,           /* 502 connection_terminated */
    FAULT_UP_REFUSED,          /* 502 connection_terminated: the origin did not begin with it */
    FAULT_UP_PROTOCOL,         /* 502 http_protocol_error */
    FAULT_UP_WANTS_H1,         /* 502 http_protocol_error: HTTP/2 was refused for this request */
    FAULT_RESPONSE_TIMEOUT,    /* 504 http_response_timeout */
    FAULT_RESPONSE_INCOMPLETE, /* http_response_incomplete: only ever logged */
    FAULT_RESPONSE_SIZE,       /* 502 http_response_body_size: larger than a batch may hold */
    FAULT_ADDRESS_DENIED,      /* 403 destination_ip_prohibited */
    FAULT_DENIED,          /* 403 http_request_denied: host, port, client network, foreign origin */
    FAULT_CREDENTIALS,     /* 407 http_request_denied */
    FAULT_UNAUTHORIZED,    /* 401 http_request_denied: of the service listener */
    FAULT_BAD_REQUEST,     /* 400 http_request_error */
    FAULT_NO_URL,          /* 400 http_request_error: a path, where a proxy wants the whole URL */
    FAULT_NOT_FOUND,       /* 404 http_request_error */
    FAULT_METHOD,          /* 405 http_request_error */
    FAULT_NOT_GET,         /* 405 http_request_error: of the pages of the service listener */
    FAULT_NOT_POST,        /* 405 http_request_error: of the batch call */
    FAULT_NO_LENGTH,       /* 411 http_request_error */
    FAULT_TOO_LARGE,       /* 413 http_request_error */
    FAULT_MEDIA_TYPE,      /* 415 http_request_error */
    FAULT_MISDIRECTED,     /* 421 http_request_error */
    FAULT_NOT_IMPLEMENTED, /* 501 http_request_error */
    FAULT_HEAD_TOO_LARGE,  /* 431 http_request_error */
    FAULT_VERSION,         /* 505 http_request_error */
    FAULT_REQUEST_TIMEOUT, /* 408 http_request_error */
    FAULT_LIMIT,           /* 503 connection_limit_reached, with Retry-After */
    FAULT_DESCRIPTORS,     /* 503 connection_limit_reached, with Retry-After: RLIMIT_NOFILE */
    FAULT_LOOP,            /* 508 proxy_loop_detected */
    FAULT_CLIENT_GONE,     /* client_gone: only ever logged */
    FAULT_INTERNAL,        /* 500 proxy_internal_error */
    FAULT_COUNT
};

struct fault {
    enum fault_code code;
    const char *phrase; /* a literal: the same in a few words, %s for the host; NULL: its code's */
    char text[512];     /* one sentence a person can act on; printable ASCII */
    unsigned retry_after; /* s: when another try is worth it, where the answer says so; 0: soon */
    /* TLS was expected of who speaks plain HTTP; UP_CLOSED, CONNECT_TIMEOUT: who perhaps does */
    bool is_plain;
};

struct fault_info {
    int status;         /* 0: never answered */
    const char *type;   /* Proxy-Status error type, and the word in the log */
    const char *phrase; /* what the reason phrase says where the fault has none: see struct fault */
};

/* Fills F. What a peer wrote goes through str_escape() before it gets into the arguments. */
void fault_set(struct fault *f, enum fault_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

void fault_vset(struct fault *f, enum fault_code code, const char *fmt, va_list args)
    PRINTF_LIKE(3, 0);

/* Fills F with a sentence that is its phrase, too: a literal, with nothing in it that a peer wrote.
 * Where the phrase is too long it is cut. */
void fault_say(struct fault *f, enum fault_code code, const char *literal);

const struct fault_info *fault_info(enum fault_code code);

#endif
