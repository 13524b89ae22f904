/* SPDX-License-Identifier: Apache-2.0 */
/* The table of faults: the one place where a status, what its reason phrase says and the
 * Proxy-Status error type (RFC 9209 §2.3) meet. */
#include "base/fault.h"

#include <stdio.h>

static const struct fault_info infos[FAULT_COUNT] = {
    [FAULT_NONE] = {0, "", ""},
    [FAULT_DNS] = {502, "dns_error", "DNS lookup of %s failed"},
    [FAULT_TOKEN] = {502, "destination_unavailable", "No access token for %s"},
    [FAULT_DNS_TIMEOUT] = {504, "dns_timeout", "DNS lookup of %s timed out"},
    [FAULT_REFUSED] = {502, "connection_refused", "Connection to %s refused"},
    [FAULT_UNROUTABLE] = {502, "destination_ip_unroutable", "No route to %s"},
    [FAULT_CONNECT_TIMEOUT] = {504, "connection_timeout", "Connection to %s timed out"},
    [FAULT_TLS_CERTIFICATE] = {502, "tls_certificate_error", "Certificate of %s does not verify"},
    [FAULT_TLS_PROTOCOL] = {502, "tls_protocol_error", "TLS with %s failed"},
    [FAULT_TLS_ALERT] = {502, "tls_alert_received", "TLS handshake refused by %s"},
    [FAULT_PARENT] = {502, "destination_unavailable", "Parent proxy refused to connect to %s"},
    [FAULT_UP_CLOSED] = {502, "connection_terminated", "Connection closed by %s"},
    [FAULT_UP_REFUSED] = {502, "connection_terminated", "Request refused by %s"},
    [FAULT_UP_PROTOCOL] = {502, "http_protocol_error", "Invalid response from %s"},
    [FAULT_UP_WANTS_H1] = {502, "http_protocol_error", "HTTP/1.1 wanted by %s"},
    [FAULT_RESPONSE_TIMEOUT] = {504, "http_response_timeout", "Response from %s timed out"},
    [FAULT_RESPONSE_INCOMPLETE] = {0, "http_response_incomplete", ""},
    [FAULT_RESPONSE_SIZE] = {502, "http_response_body_size", "Response from %s is too large"},
    [FAULT_ADDRESS_DENIED] = {403, "destination_ip_prohibited",
                              "Address of %s is not allowed by the proxy"},
    [FAULT_DENIED] = {403, "http_request_denied", "Not allowed by the proxy"},
    [FAULT_CREDENTIALS] = {407, "http_request_denied", "Proxy Authentication Required"},
    [FAULT_UNAUTHORIZED] = {401, "http_request_denied", "Unauthorized"},
    [FAULT_BAD_REQUEST] = {400, "http_request_error", "Bad Request"},
    [FAULT_NO_URL] = {400, "http_request_error", "Bad Request"},
    [FAULT_NOT_FOUND] = {404, "http_request_error", "Not Found"},
    [FAULT_METHOD] = {405, "http_request_error", "Method Not Allowed"},
    [FAULT_NOT_GET] = {405, "http_request_error", "Method Not Allowed"},
    [FAULT_NOT_POST] = {405, "http_request_error", "Method Not Allowed"},
    [FAULT_NO_LENGTH] = {411, "http_request_error", "Length Required"},
    [FAULT_TOO_LARGE] = {413, "http_request_error", "Content Too Large"},
    [FAULT_MEDIA_TYPE] = {415, "http_request_error", "Unsupported Media Type"},
    [FAULT_MISDIRECTED] = {421, "http_request_error", "Misdirected Request"},
    [FAULT_NOT_IMPLEMENTED] = {501, "http_request_error", "Not Implemented"},
    [FAULT_HEAD_TOO_LARGE] = {431, "http_request_error", "Request Header Fields Too Large"},
    [FAULT_VERSION] = {505, "http_request_error", "HTTP Version Not Supported"},
    [FAULT_REQUEST_TIMEOUT] = {408, "http_request_error", "Request Timeout"},
    [FAULT_LIMIT] = {503, "connection_limit_reached", "Limit of the proxy reached, try again"},
    [FAULT_DESCRIPTORS] = {503, "connection_limit_reached",
                           "Proxy has no descriptors left, try again"},
    [FAULT_LOOP] = {508, "proxy_loop_detected", "Loop through this proxy detected"},
    [FAULT_CLIENT_GONE] = {0, "client_gone", ""},
    [FAULT_INTERNAL] = {500, "proxy_internal_error", "Internal error of the proxy"},
};

void fault_vset(struct fault *f, enum fault_code code, const char *fmt, va_list args)
{
    f->code = code;
    f->phrase = NULL;
    f->retry_after = 0;
    f->is_plain = false;
    if (vsnprintf(f->text, sizeof(f->text), fmt, args) < 0)
        f->text[0] = '\0';
    /* The text becomes a field value: a control byte that slipped through must not end it. */
    for (char *c = f->text; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
}

void fault_set(struct fault *f, enum fault_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fault_vset(f, code, fmt, args);
    va_end(args);
}

void fault_say(struct fault *f, enum fault_code code, const char *literal)
{
    fault_set(f, code, "%s", literal);
    f->phrase = literal;
}

const struct fault_info *fault_info(enum fault_code code)
{
    bool known = (unsigned)code < FAULT_COUNT && infos[code].type != NULL;
    return &infos[known ? code : FAULT_INTERNAL];
}
