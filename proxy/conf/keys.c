/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys. Sections follow each other in the order of conf/tlsfan.conf; a key whose
 * feature does not exist is not in it, so that writing it is an error rather than ignored. */
#include "conf/keys.h"

#include <ctype.h>
#include <stddef.h>

#include "conf/conf.h"
#include "conf/oauth.h"

enum { KIB = 1024, MIB = 1024 * 1024 };
#define GIB          (1024LL * MIB)
#define DURATION_MAX (366LL * 24 * 3600 * 1000) /* ms */

/* Words and what they stand for in the snapshot. */
static const struct choice families[] = {
    {"any", AF_UNSPEC}, {"ipv4", AF_INET}, {"ipv6", AF_INET6}, {NULL, 0}};
static const struct choice versions[] = {
    {"1.0", 0x0301}, {"1.1", 0x0302}, {"1.2", 0x0303}, {"1.3", 0x0304}, {NULL, 0}};
/* OpenSSL's level and 1, so that 0 is none; see struct tls_policy. */
static const struct choice strengths[] = {{"", 0},  {"0", 1}, {"1", 2}, {"2", 3},
                                          {"3", 4}, {"4", 5}, {"5", 6}, {NULL, 0}};
static const struct choice levels[] = {{"error", LOG_LEVEL_ERROR},
                                       {"warning", LOG_LEVEL_WARNING},
                                       {"info", LOG_LEVEL_INFO},
                                       {"debug", LOG_LEVEL_DEBUG},
                                       {NULL, 0}};
static const struct choice formats[] = {{"json", true}, {"common", false}, {NULL, 0}};
static const struct choice auth_ways[] = {{"basic", false}, {"body", true}, {NULL, 0}};
static const struct choice hosts_sent[] = {{"target", false}, {"client", true}, {NULL, 0}};

/* Where a key is kept: in the snapshot, in rules[0] (so that rules inherit it), in its rule or
 * its forward or oauth. */
#define IN_CONF(field)    .offset = offsetof(struct conf, field)
#define IN_BASE(field)    .in_base = true, .offset = offsetof(struct rule, field)
#define IN_RULE(field)    .offset = offsetof(struct rule, field)
#define IN_FORWARD(field) .offset = offsetof(struct forward, field)
#define IN_OAUTH(field)   .offset = offsetof(struct oauth_conf, field)
/* What TLS with an origin needs to be made anew for; a rule that writes it has its own. */
#define TRUST    .decides = DECIDES_TRUST
#define CONTEXT  .decides = DECIDES_CONTEXT
#define AT_START .at_start = true
/* Types with their bounds; nothing is read that a field could not hold. */
#define BOOL              .type = KEY_BOOL
#define TEXT              .type = KEY_TEXT
#define TIME              .type = KEY_DURATION, .min = 0, .max = DURATION_MAX
#define NUMBER(low, high) .type = KEY_NUMBER, .min = (low), .max = (high)
#define SIZE(low, high)   .type = KEY_SIZE, .min = (low), .max = (high)

/* The text is long, and shown to users just so. */
#define DENIED                                                                                  \
    "linklocal, 0.0.0.0/8, 100.100.100.200, 168.63.129.16, 192.0.0.0/24, 224.0.0.0/3, ::/128, " \
    "ff00::/8, fec0::/10, fd00:ec2::254, fd20:ce::254"

/* In the environment these are TLSFAN_ and the name in capitals. */
static const struct key global_keys[] = {
    {"listen", .type = KEY_LISTEN, IN_CONF(listeners), .def = "127.0.0.1:3128",
     .help = "ADDR:PORT, unix:/path, tls: or transparent:ADDR:PORT; port 0: any free"},
    {"service", .type = KEY_SERVICE, IN_CONF(listeners), .def = "127.0.0.1:3129",
     .help = "ADDR:PORT for health, metrics, the live page and batch calls; off: none"},
    {"service_hosts", .type = KEY_HOSTS, IN_CONF(service_hosts), .def = "",
     .help = "Host names it takes besides IP literals and loopback names"},
    {"workers", .type = KEY_WORKERS, IN_CONF(workers), AT_START, .def = "auto", .min = 1,
     .max = 1024, .help = "worker threads; auto: processors this process may use"},
    {"max_memory", .type = KEY_SIZE, IN_CONF(max_memory), .def = "1g", .min = MIB, .max = INT64_MAX,
     .help = "what peers make it hold; when spent, requests wait, then get 503"},
    {"drain_delay", TIME, IN_CONF(drain_delay), .def = "0s",
     .help = "after TERM: accepting goes on this long, keep-alive ends"},
    {"drain_timeout", TIME, IN_CONF(drain_timeout), .def = "30s",
     .help = "then: accepting stops, exchanges in flight get this long"},
    {"connect_to", .type = KEY_CONNECT_TO, IN_CONF(connect_to), .def = "",
     .help = "\"HOST:PORT:ADDR:PORT\"; an empty HOST or PORT matches any"},
    {"via", BOOL, IN_CONF(via), .def = "on",
     .help = "add Via; some origins stop compressing when they see it"},
    {"readahead_memory", SIZE(MIB, 1024 * GIB), IN_CONF(readahead_memory), .def = "64m",
     .help = "what is fetched ahead and was not asked for yet, in all"},

    {"client.allow", .type = KEY_NETS, IN_CONF(client.allow), .def = "loopback",
     .help = "networks that may connect; also loopback, private, linklocal, any"},
    {"client.auth_file", TEXT, IN_CONF(client.auth_file), .def = "",
     .help = "htpasswd file (bcrypt or SHA-crypt): credentials are demanded too"},
    {"client.max_connections", NUMBER(1, 10000000), IN_CONF(client.max_connections), AT_START,
     .def = "10000", .help = "client connections open at once; taken at start only"},
    {"client.max_pipeline", NUMBER(1, 10000), IN_CONF(client.max_pipeline), .def = "100",
     .help = "requests of one connection in flight at once"},
    {"client.max_head", SIZE(KIB, MIB), IN_CONF(client.max_head), .def = "64k",
     .help = "request line and fields"},
    {"client.header_timeout", TIME, IN_CONF(client.header_timeout), .def = "30s",
     .help = "from the first byte of a head to its end"},
    {"client.body_timeout", TIME, IN_CONF(client.body_timeout), .def = "60s",
     .help = "between two reads of a request body"},
    {"client.write_timeout", TIME, IN_CONF(client.write_timeout), .def = "60s",
     .help = "the client takes no byte of an answer whose turn it is"},
    {"client.idle_timeout", TIME, IN_CONF(client.idle_timeout), .def = "300s",
     .help = "keep-alive"},
    {"client.tunnel_timeout", TIME, IN_BASE(tunnel_timeout), .def = "1h",
     .help = "CONNECT and Upgrade, between two reads of either side"},
    {"client.buffer", SIZE(4 * KIB, GIB), IN_CONF(client.buffer), .def = "256k",
     .help = "per exchange and direction, before the far side is slowed down"},
    {"client.lenient", BOOL, IN_CONF(client.lenient), .def = "off",
     .help = "on: lines may end in a bare LF; lengths stay strict always"},
    {"client.early_hints", BOOL, IN_CONF(client.early_hints), .def = "off",
     .help = "forward 1xx but 100 and 101 (old clients take them for the answer)"},
    {"client.cert", TEXT, IN_CONF(client.cert), .def = "",
     .help = "of tls: listeners: the certificate, its issuers behind it, PEM"},
    {"client.key", TEXT, IN_CONF(client.key), .def = "", .help = "and its key"},
    {"client.client_ca", TEXT, IN_CONF(client.client_ca), .def = "",
     .help = "set: who comes there shows a certificate that one of these has signed"},

    {"upstream.connect_timeout", TIME, IN_CONF(upstream.connect_timeout), .def = "10s",
     .help = "DNS, TCP and TLS, all addresses tried"},
    {"upstream.response_timeout", TIME, IN_BASE(response_timeout), .def = "60s",
     .help = "from the end of the request to the response head"},
    {"upstream.read_timeout", TIME, IN_BASE(read_timeout), .def = "300s",
     .help = "between two reads of a response body"},
    {"upstream.idle_timeout", TIME, IN_CONF(upstream.idle_timeout), .def = "60s",
     .help = "pooled connections"},
    {"upstream.max_age", TIME, IN_CONF(upstream.max_age), .def = "10m",
     .help = "a pooled connection takes no new request after it"},
    {"upstream.max_per_host", NUMBER(1, 1000000), IN_BASE(max_per_host), .def = "256",
     .help = "requests at once to one origin over all workers; further ones queue"},
    {"upstream.queue_timeout", TIME, IN_CONF(upstream.queue_timeout), .def = "30s",
     .help = "how long they queue at most"},
    {"upstream.max_head", SIZE(KIB, 16 * MIB), IN_CONF(upstream.max_head), .def = "128k",
     .help = "status line and fields of a response"},
    {"upstream.retries", NUMBER(0, 10), IN_CONF(upstream.retries), .def = "1",
     .help = "of idempotent requests lost on a reused connection"},
    {"upstream.http2", BOOL, IN_BASE(http2), .def = "on",
     .help = "HTTP/2 is offered to origins: many requests on one connection"},
    {"upstream.proxy", .type = KEY_PARENT, IN_BASE(parent), .is_secret = true, .def = "",
     .help = "parent, \"http://[user:password@]host:port\": CONNECT through it, TLS inside"},
    {"upstream.no_proxy", .type = KEY_BYPASS, IN_CONF(upstream.no_proxy), .def = "",
     .help = "names, \"*.suffix\" and networks that are reached directly"},
    {"upstream.bind", .type = KEY_BIND, IN_CONF(upstream), .def = "",
     .help = "source address; one of each family, divided by a comma"},

    {"dns.servers", .type = KEY_SERVERS, IN_CONF(dns.servers), .def = "",
     .help = "ADDR or ADDR:PORT; {}: those of /etc/resolv.conf"},
    {"dns.timeout", TIME, IN_CONF(dns.timeout), .def = "5s", .help = "of a whole lookup"},
    {"dns.ttl_max", TIME, IN_CONF(dns.ttl_max), .def = "60s",
     .help = "an answer is kept no longer than this"},
    {"dns.negative_ttl", TIME, IN_CONF(dns.negative_ttl), .def = "5s",
     .help = "and one that there is no such name this long"},
    {"dns.stale", TIME, IN_CONF(dns.stale), .def = "5m",
     .help = "an expired answer still serves when the servers fail"},
    {"dns.family", .type = KEY_CHOICE, IN_CONF(dns.family), .def = "any", .choices = families,
     .help = "addresses used: any, ipv4, ipv6"},

    {"tls.ca_file", TEXT, IN_BASE(tls.ca_file), TRUST, .def = "",
     .help = "trusted certificates; \"\": the system's store; set: only these"},
    {"tls.ca_dir", TEXT, IN_BASE(tls.ca_dir), TRUST, .def = "",
     .help = "the same as a directory: all in its files"},
    {"tls.ca_extra", TEXT, IN_BASE(tls.ca_extra), TRUST, .def = "",
     .help = "trusted besides the system's store"},
    {"tls.crl_file", TEXT, IN_BASE(tls.crl_file), TRUST, .def = "", .help = "revoked certificates"},
    {"tls.min_version", .type = KEY_CHOICE, IN_BASE(tls.min_version), CONTEXT, .def = "1.2",
     .choices = versions, .help = "1.0, 1.1, 1.2 or 1.3"},
    {"tls.ciphers", TEXT, IN_BASE(tls.ciphers), CONTEXT, .def = "", .help = "TLS 1.2 list"},
    {"tls.ciphersuites", TEXT, IN_BASE(tls.ciphersuites), CONTEXT, .def = "",
     .help = "TLS 1.3 list"},
    {"tls.session_resumption", BOOL, IN_BASE(tls.session_resumption), CONTEXT, .def = "on",
     .help = "shorter handshakes with an origin seen before"},
    {"tls.fetch_intermediates", BOOL, IN_BASE(tls.fetch_intermediates), CONTEXT, .def = "off",
     .help = "on: an intermediate that a server does not send is got where its certificate says"},
    {"tls.keylog", TEXT, IN_BASE(tls.keylog), CONTEXT, .def = "",
     .help = "file for the secrets of connections, for Wireshark; never in production"},

    {"rewrite.location", BOOL, IN_CONF(rewrite.location), .def = "on",
     .help = "Location, Content-Location and Refresh come back as http://"},
    {"rewrite.cookies", BOOL, IN_CONF(rewrite.cookies), .def = "on",
     .help = "Secure, SameSite=None and Partitioned leave Set-Cookie"},
    {"rewrite.hsts", BOOL, IN_CONF(rewrite.hsts), .def = "on",
     .help = "Strict-Transport-Security and Alt-Svc are dropped"},
    {"rewrite.origin", BOOL, IN_CONF(rewrite.origin), .def = "on",
     .help = "Origin, Referer and Destination leave as https://"},
    {"rewrite.links", BOOL, IN_CONF(rewrite.links), .def = "on",
     .help = "Link and realm URLs come back as http://"},
    {"rewrite.cors", BOOL, IN_CONF(rewrite.cors), .def = "on",
     .help = "Access-Control-Allow-Origin comes back as http://"},

    {"destination.ports", .type = KEY_PORTS, IN_CONF(destination.ports), .def = "",
     .help = "allowed for requests; {}: any"},
    {"destination.connect_ports", .type = KEY_PORTS, IN_CONF(destination.connect_ports),
     .def = "443", .help = "allowed for CONNECT; {}: any"},
    {"destination.deny", .type = KEY_NETS, IN_CONF(destination.deny), .def = DENIED,
     .help = "networks never connected to, judged on the resolved address"},
    {"destination.allow", .type = KEY_NETS, IN_CONF(destination.allow), .def = "",
     .help = "exceptions to deny; opens loopback to clients of other machines, too"},
    {"destination.allow_hosts", .type = KEY_HOSTS, IN_CONF(destination.allow_hosts), .def = "",
     .help = "names and \"*.example.com\"; {}: any"},
    {"destination.deny_hosts", .type = KEY_HOSTS, IN_CONF(destination.deny_hosts), .def = "",
     .help = "names and \"*.example.com\" that are refused"},

    {"batch.max_items", NUMBER(1, 100000), IN_CONF(batch.max_items), .def = "1000",
     .help = "requests in one batch call"},
    {"batch.max_size", SIZE(KIB, GIB), IN_CONF(batch.max_size), .def = "64m",
     .help = "body of a batch call"},
    {"batch.max_item_response", SIZE(KIB, GIB), IN_CONF(batch.max_item_response), .def = "16m",
     .help = "one body in an NDJSON answer; multipart streams"},

    {"intercept.ca_cert", TEXT, IN_CONF(intercept.ca_cert), .def = "",
     .help = "the CA that signs what intercepted clients see; tlsfan --make-ca makes one"},
    {"intercept.ca_key", TEXT, IN_CONF(intercept.ca_key), .def = "",
     .help = "its key, which others must not be able to read"},
    {"intercept.min_version", .type = KEY_CHOICE, IN_CONF(intercept.min_version), .def = "1.0",
     .choices = versions, .help = "of intercepted clients: 1.0, 1.1, 1.2 or 1.3"},

    {"capture.http", .type = KEY_PORTS, IN_CONF(capture.http), .def = "80",
     .help = "ports of COMMAND under run --capture that are read as plain HTTP"},
    {"capture.tunnel", .type = KEY_PORTS, IN_CONF(capture.tunnel), .def = "443",
     .help = "ports that lead to the same port of the same host"},
    {"capture.host_loopback", .type = KEY_PORTS, IN_CONF(capture.host_loopback), .def = "",
     .help = "ports of its loopback that lead to this machine's"},

    {"log.level", .type = KEY_CHOICE, IN_CONF(log.level), .def = "info", .choices = levels,
     .help = "error, warning, info, debug"},
    {"log.access", TEXT, IN_CONF(log.access), .def = "stderr",
     .help = "stderr, stdout, syslog, off or a file"},
    {"log.format", .type = KEY_FLAG, IN_CONF(log.json), .def = "json", .choices = formats,
     .help = "json or common"},
    {"log.fields", BOOL, IN_CONF(log.fields), .def = "off",
     .help = "on: the page shows values of fields, credentials never"},
    {"log.query", BOOL, IN_CONF(log.query), .def = "off", .help = "off: query strings are cut"},
};

/* An empty default of a key that inherits stands for the value of the sections above. */
static const struct key rule_keys[] = {
    {"upgrade", BOOL, IN_RULE(upgrade), .def = "on",
     .help = "off: http:// stays plain HTTP for these hosts"},
    {"port", .type = KEY_PORT, IN_RULE(port), .def = "0", .max = 65535,
     .help = "0: the one of the request, 443 for http://; else this one"},
    {"connect_to", .type = KEY_CONNECT, IN_RULE(connect_host), .def = "",
     .help = "connect to this HOST:PORT instead"},
    {"sni", .type = KEY_HOST, IN_RULE(sni), .def = "",
     .help = "another server name for SNI and verification"},
    {"verify", BOOL, IN_RULE(tls.verify), .def = "on",
     .help = "off: any certificate is taken; logged at start"},
    {"ca_file", TEXT, IN_RULE(tls.ca_file), TRUST, .inherits = true, .def = "",
     .help = "as in tls; set: only these"},
    {"client_cert", TEXT, IN_RULE(tls.client_cert), CONTEXT, .def = "",
     .help = "certificate shown to the origin"},
    {"client_key", TEXT, IN_RULE(tls.client_key), CONTEXT, .def = "",
     .help = "its key; \"\": in the same file"},
    {"min_version", .type = KEY_CHOICE, IN_RULE(tls.min_version), CONTEXT, .inherits = true,
     .def = "", .choices = versions, .help = "as in tls"},
    {"ciphers", TEXT, IN_RULE(tls.ciphers), CONTEXT, .inherits = true, .def = "",
     .help = "as in tls"},
    {"security_level", .type = KEY_CHOICE, IN_RULE(tls.security_level), CONTEXT, .def = "",
     .choices = strengths,
     .help = "OpenSSL's, 0 to 5; 0: old keys and hashes; \"\": as it is set up"},
    {"legacy_renegotiation", BOOL, IN_RULE(tls.legacy_renegotiation), CONTEXT, .def = "off",
     .help = "on: servers that know no secure renegotiation (RFC 5746) are taken"},
    {"pin_sha256", .type = KEY_PINS, IN_RULE(tls.pins), CONTEXT, .def = "",
     .help = "Base64 SHA-256 of a public key, of which one must be in the verified chain"},
    {"proxy", .type = KEY_PARENT, IN_RULE(parent), .inherits = true, .is_secret = true, .def = "",
     .help = "parent of these hosts, no_proxy or not; \"none\": directly"},
    {"http2", BOOL, IN_RULE(http2), .inherits = true, .def = "", .help = "as in upstream"},
    {"max_per_host", NUMBER(0, 1000000), IN_RULE(max_per_host), .inherits = true, .def = "0",
     .help = "0: as in upstream"},
    {"rate", .type = KEY_RATE, IN_RULE(rate), .def = "",
     .help = "\"10/s\", \"10/m\" or \"10/h\": requests begun to one origin, evenly spaced"},
    {"retry_after", BOOL, IN_RULE(retry_after), .def = "off",
     .help = "on: 429 and 503 with Retry-After of a safe request are waited for and repeated"},
    {"response_timeout", TIME, IN_RULE(response_timeout), .inherits = true, .def = "",
     .help = "as in upstream"},
    {"read_timeout", TIME, IN_RULE(read_timeout), .inherits = true, .def = "",
     .help = "as in upstream"},
    {"tunnel_timeout", TIME, IN_RULE(tunnel_timeout), .inherits = true, .def = "",
     .help = "as in client"},
    {"lenient", BOOL, IN_RULE(lenient), .def = "off",
     .help = "on: bare LF, folded lines and the like in answers of old origins"},
    {"readahead", NUMBER(0, 1000), IN_RULE(readahead), .def = "0",
     .help = "pages fetched ahead of a client that walks them one by one; 0: none"},
    {"intercept", BOOL, IN_RULE(intercept), .def = "off",
     .help = "on: CONNECT is answered with a certificate of intercept.ca_cert, and read"},
    {"request_header", .type = KEY_EDITS, IN_RULE(edits), .is_secret = true, .def = "",
     .help = "\"Name: value\" replaces the client's, \"Name:\" removes it; {file:PATH} in it"},
};

/* `to` fills several fields of struct forward, of which the host is the first. */
static const struct key forward_keys[] = {
    {"to", .type = KEY_TO, IN_FORWARD(host), .def = "",
     .help = "the origin: https://HOST[:PORT][/PATH]"},
    {"host", .type = KEY_FLAG, IN_FORWARD(host_is_client), .def = "target", .choices = hosts_sent,
     .help = "target or client: which Host the origin sees"},
    {"hosts", .type = KEY_HOSTS, IN_FORWARD(hosts), .def = "",
     .help = "Host names taken besides IP literals, loopback names and the target"},
    {"origins", .type = KEY_ORIGINS, IN_FORWARD(origins), .def = "",
     .help = "web origins whose pages may ask: http://name[:port]"},
};

/* `token_url` fills several fields, of which the URL is the first. */
static const struct key oauth_keys[] = {
    {"token_url", .type = KEY_TOKEN, IN_OAUTH(url), .def = "",
     .help = "the token endpoint: https://HOST[:PORT]/PATH"},
    {"client_id", TEXT, IN_OAUTH(client_id), .def = "", .help = "who asks there"},
    {"client_secret", .type = KEY_SECRET, IN_OAUTH(secret), .is_secret = true, .def = "",
     .help = "{file:PATH} or {env:NAME}"},
    {"auth", .type = KEY_FLAG, IN_OAUTH(in_body), .def = "basic", .choices = auth_ways,
     .help = "basic or body: where the two go"},
    {"scope", TEXT, IN_OAUTH(scope), .def = "", .help = "what the token is for; \"\": not said"},
    {"audience", TEXT, IN_OAUTH(audience), .def = "", .help = "and for whom"},
};

const char *key_section(enum key_scope scope)
{
    static const char *const names[KEY_SCOPES] = {
        [KEY_GLOBAL] = "", [KEY_RULE] = "rule", [KEY_FORWARD] = "forward", [KEY_OAUTH] = "oauth"};
    return names[scope];
}

const struct key *keys_of(enum key_scope scope, unsigned *n)
{
    static const struct {
        const struct key *keys;
        unsigned n;
    } scopes[KEY_SCOPES] = {
        [KEY_GLOBAL] = {global_keys, sizeof(global_keys) / sizeof(global_keys[0])},
        [KEY_RULE] = {rule_keys, sizeof(rule_keys) / sizeof(rule_keys[0])},
        [KEY_FORWARD] = {forward_keys, sizeof(forward_keys) / sizeof(forward_keys[0])},
        [KEY_OAUTH] = {oauth_keys, sizeof(oauth_keys) / sizeof(oauth_keys[0])},
    };
    *n = scopes[scope].n;
    return scopes[scope].keys;
}

const struct key *key_find(enum key_scope scope, struct str name)
{
    unsigned n;
    const struct key *keys = keys_of(scope, &n);
    for (unsigned i = 0; i < n; i++)
        if (str_eq(str_from(keys[i].name), name))
            return &keys[i];
    return NULL;
}

bool key_is_list(const struct key *k)
{
    return k->type >= KEY_NETS;
}

const char *key_env_name(const struct key *k, char *dst)
{
    static const char prefix[] = "TLSFAN_";
    size_t len = sizeof(prefix) - 1;
    memcpy(dst, prefix, len);
    for (const char *p = k->name; *p != '\0' && len < KEY_ENV_MAX - 1; p++)
        dst[len++] = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    dst[len] = '\0';
    return dst;
}

const struct key *key_find_env(struct str name)
{
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    char env[KEY_ENV_MAX];
    for (unsigned i = 0; i < n; i++)
        if (str_eq(str_from(key_env_name(&keys[i], env)), name))
            return &keys[i];
    return NULL;
}
