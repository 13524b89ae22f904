/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_server.c and net/tls_wire.c over socket pairs, with net/tls_client.c on the other side:
 * what a client asks for and what is said of it; TLS laid over a stream that is open, with bytes
 * that have come early; TLS in TLS, how it ends, and much of it both ways in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/socket.h>

#include "conf/files.h"
#include "net/linger.h"
#include "net/stream_share.h"
#include "net/tls_client.h"
#include "net/tls_server.h"
#include "net/tls_wire.h"
#include "tls_fixture.h"

enum { LONG = 3 * 1024 * 1024, LINE = 8 };

static struct loop loop;
static struct conf conf;
static struct rule rule;
static struct pair ca, leaf, other;
static char dir[64];
static char *ca_path;
static SSL_CTX *ctx, *other_ctx;

/* What a server was asked. */
static struct {
    int calls;
    int later; /* calls that find no answer yet */
    char name[64], alpn[64];
    bool refuses;
    SSL_CTX *gives;
} asked;

/* One side of a connection, and what it was told. */
struct end {
    struct stream *s;
    const char *sni; /* of a client; NULL: a server */
    bool verifies;
    int versions;         /* layers of TLS that it has begun */
    bool begins_in_line;  /* a server: lays TLS over what follows the first LINE bytes, at once */
    bool takes_line_only; /* or leaves the rest */
    bool pauses;          /* now and then */
    int ready, eofs, drains, faults;
    bool eof_clean;
    size_t n_got, n_sent;
    struct fault fault;
};

static struct end client, server;

static enum tls_choice choose(void *arg, SSL *ssl, const struct tls_hello *hello)
{
    assert_ptr_equal(arg, &asked);
    asked.calls++;
    snprintf(asked.name, sizeof(asked.name), "%.*s", (int)hello->name.len, hello->name.p);
    snprintf(asked.alpn, sizeof(asked.alpn), "%.*s", (int)hello->alpn.len, hello->alpn.p);
    if (asked.gives != NULL)
        assert_ptr_equal(SSL_set_SSL_CTX(ssl, asked.gives), asked.gives);
    return asked.calls <= asked.later ? TLS_CHOICE_LATER
           : asked.refuses            ? TLS_CHOICE_NONE
                                      : TLS_CHOICE_MADE;
}

static void begin_tls(struct end *e)
{
    e->versions++;
    if (e->sni == NULL) {
        struct tls_server_want want = {
            .ctx = ctx, .where = STR("the client 192.0.2.1"), .choose = choose, .arg = &asked};
        tls_server_push(e->s, &want);
    } else {
        struct tls_peer peer = {.ctx = rule.tls.ctx,
                                .name = str_from(e->sni),
                                .where = STR("a.test:443"),
                                .verify = e->verifies};
        tls_client_push(e->s, &peer);
    }
    stream_start(e->s);
}

static char byte_at(size_t i)
{
    return (char)(i * 7 % 251);
}

static void on_ready(void *arg)
{
    struct end *e = arg;
    e->ready++;
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    struct end *e = arg;
    if (e->takes_line_only)
        return e->n_got == 0 ? (e->n_got = LINE) : 0;
    if (e->begins_in_line) {
        assert_true(n >= LINE);
        e->begins_in_line = false;
        begin_tls(e);
        return LINE;
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], byte_at(e->n_got + i));
    e->n_got += n;
    if (e->pauses && rand() % 4 == 0)
        stream_pause(e->s);
    return n;
}

static void on_eof(void *arg, bool clean)
{
    struct end *e = arg;
    e->eofs++;
    e->eof_clean = clean;
}

static void on_drain(void *arg)
{
    struct end *e = arg;
    e->drains++;
}

static void on_fault(void *arg, const struct fault *f)
{
    struct end *e = arg;
    e->faults++;
    e->fault = *f;
}

static const struct stream_user user = {on_ready, on_data, on_eof, on_drain, on_fault};

static SSL_CTX *make_ctx(const struct pair *p)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(c, p->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(c, p->key), 1);
    tls_server_init_ctx(c);
    return c;
}

static int set_up_group(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/test_tls_server.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    ca = make_cert(NULL, &(struct cert_want){.cn = "Test CA", .is_ca = true});
    leaf = make_cert(&ca, &(struct cert_want){.cn = "a", .san = "DNS:a.test"});
    other = make_cert(&ca, &(struct cert_want){.cn = "b", .san = "DNS:b.test"});
    ca_path = write_cert(dir, "ca.pem", ca.cert);
    use_tls(&conf, &rule, (struct tls_policy){.ca_file = ca_path});
    return 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    conf.on_free(&conf);
    conf_files_clear(&conf.files);
    unlink(ca_path);
    free(ca_path);
    free_pair(&ca);
    free_pair(&leaf);
    free_pair(&other);
    return rmdir(dir);
}

static int set_up(void **state)
{
    int fds[2];
    (void)state;
    memset(&asked, 0, sizeof(asked));
    ctx = make_ctx(&leaf);
    other_ctx = make_ctx(&other);
    if (!loop_init(&loop) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    client = (struct end){.s = stream_new(&loop, fds[0], NULL), .sni = "a.test", .verifies = true};
    server = (struct end){.s = stream_new(&loop, fds[1], NULL)};
    stream_set_user(client.s, &user, &client);
    stream_set_user(server.s, &user, &server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stream_close(client.s);
    stream_close(server.s);
    linger_close_all(&loop);
    loop_clear(&loop);
    SSL_CTX_free(ctx);
    SSL_CTX_free(other_ctx);
    ERR_clear_error();
    return 0;
}

static void turns(int n)
{
    while (n-- > 0)
        loop_turn(&loop, false);
}

/* Until each side has been told of its handshakes, or that they have failed. */
static void shake(int ready)
{
    for (int i = 0;
         i < 1000 && (client.ready + client.faults < ready || server.ready + server.faults < ready);
         i++)
        turns(1);
}

static void begin_both(void)
{
    int ready = client.ready + 1;
    begin_tls(&server);
    begin_tls(&client);
    shake(ready);
    assert_int_equal(client.faults + server.faults, 0);
    assert_int_equal(client.ready, ready);
    assert_int_equal(server.ready, ready);
}

static void send_some(struct end *e, size_t n)
{
    char *p = xmalloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(e->n_sent + i);
    stream_put(e->s, p, n);
    e->n_sent += n;
    free(p);
}

static void both_speak(void)
{
    send_some(&client, 1000);
    send_some(&server, 50000);
    turns(20);
    assert_int_equal(server.n_got, client.n_sent);
    assert_int_equal(client.n_got, server.n_sent);
}

/* ---- what a client asks for ---- */

static void client_is_served(void **state)
{
    (void)state;
    begin_both();
    assert_int_equal(asked.calls, 1);
    assert_string_equal(asked.name, "a.test");
    assert_string_equal(asked.alpn, "\x08http/1.1");
    assert_string_equal(tls_wire_version(server.s), "TLSv1.3");
    assert_false(tls_client_is_h2(server.s));
    both_speak();
    stream_end(client.s);
    turns(3);
    assert_int_equal(server.eofs, 1);
    assert_true(server.eof_clean);
    stream_end(server.s);
    turns(3);
    assert_int_equal(client.eofs, 1);
    assert_true(client.eof_clean);
}

static void old_versions_are_served(void **state)
{
    (void)state;
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    begin_both();
    assert_string_equal(tls_wire_version(server.s), "TLSv1.2");
    both_speak();
}

static void certificate_is_chosen(void **state)
{
    (void)state;
    client.sni = "b.test";
    asked.gives = other_ctx;
    begin_both();
    assert_string_equal(asked.name, "b.test");
    both_speak();
}

/* Nothing that the client sends meanwhile, nor its end, makes a turn of the loop. */
static void certificate_is_chosen_later(void **state)
{
    (void)state;
    asked.later = 2;
    begin_tls(&server);
    begin_tls(&client);
    turns(5);
    assert_int_equal(asked.calls, 1);
    assert_false(server.s->reads->is_armed);
    stream_start(server.s);
    turns(5);
    assert_int_equal(asked.calls, 2);
    stream_start(server.s);
    shake(1);
    assert_int_equal(asked.calls, 3);
    assert_int_equal(server.ready, 1);
    both_speak();
}

static void context_has_it_all(void **state)
{
    struct tls_server_want want = {.ctx = ctx, .where = STR("x")};
    (void)state;
    tls_server_push(server.s, &want); /* chooses nothing */
    stream_start(server.s);
    begin_tls(&client);
    shake(1);
    assert_int_equal(server.ready, 1);
    assert_int_equal(asked.calls, 0);
    both_speak();
}

/* ---- faults ---- */

static void fails(enum fault_code code, const char *text)
{
    shake(1);
    turns(5);
    assert_int_equal(server.ready, 0);
    assert_int_equal(server.faults, 1);
    assert_int_equal(server.fault.code, code);
    assert_string_equal(server.fault.text, text);
}

static void name_is_refused(void **state)
{
    (void)state;
    asked.refuses = true;
    begin_tls(&server);
    begin_tls(&client);
    fails(FAULT_TLS_PROTOCOL, "the client 192.0.2.1 asked by TLS for a name that is not served");
    assert_int_equal(tls_server_failure(server.s), TLS_FAILURE_PROTOCOL);
    assert_int_equal(client.faults, 1);
    assert_non_null(strstr(client.fault.text, "unrecognized name"));
}

static void certificate_is_refused(void **state)
{
    (void)state;
    struct pair stranger = make_cert(NULL, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    SSL_CTX_use_certificate(ctx, stranger.cert);
    SSL_CTX_use_PrivateKey(ctx, stranger.key);
    begin_tls(&server);
    begin_tls(&client);
    fails(FAULT_TLS_ALERT,
          "the client 192.0.2.1 refused the certificate with the alert \"unknown CA\"");
    assert_int_equal(tls_server_failure(server.s), TLS_FAILURE_TRUST);
    assert_int_equal(client.fault.code, FAULT_TLS_CERTIFICATE);
    free_pair(&stranger);
}

static void old_client_is_refused(void **state)
{
    (void)state;
    SSL_CTX_set_max_proto_version(tls_ctx_ssl(rule.tls.ctx), TLS1_2_VERSION);
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    begin_tls(&server);
    begin_tls(&client);
    fails(FAULT_TLS_PROTOCOL, "the client 192.0.2.1 speaks no version of TLS that is allowed");
    SSL_CTX_set_max_proto_version(tls_ctx_ssl(rule.tls.ctx), 0);
}

static void plain_client_is_told_apart(void **state)
{
    (void)state;
    begin_tls(&server);
    stream_start(client.s);
    stream_put(client.s, "GET / HTTP/1.1\r\n\r\n", 18);
    fails(FAULT_TLS_PROTOCOL, "the client 192.0.2.1 speaks plain HTTP, not TLS");
    assert_int_equal(tls_server_failure(server.s), TLS_FAILURE_FOREIGN);
}

static void gone_in_the_handshake(void **state)
{
    (void)state;
    begin_tls(&server);
    turns(1);
    stream_close(client.s);
    client.s = NULL;
    fails(FAULT_CLIENT_GONE, "the client 192.0.2.1 closed the connection during the TLS handshake");
    assert_int_equal(tls_server_failure(server.s), TLS_FAILURE_GONE);
}

static void something_else_is_told_apart(void **state)
{
    (void)state;
    begin_tls(&server);
    stream_start(client.s);
    stream_put(client.s, "SSH-2.0-x\r\n", 11);
    fails(FAULT_TLS_PROTOCOL, "the client 192.0.2.1 speaks something else than TLS");
    assert_int_equal(tls_server_failure(server.s), TLS_FAILURE_FOREIGN);
}

static void muted_end_is_no_clean_one(void **state)
{
    (void)state;
    begin_both();
    both_speak();
    tls_wire_mute(server.s);
    stream_end(server.s);
    turns(3);
    assert_int_equal(client.eofs, 1);
    assert_false(client.eof_clean);
}

static void cut_is_no_clean_end(void **state)
{
    (void)state;
    begin_both();
    both_speak();
    shutdown(client.s->line.fd, SHUT_WR);
    turns(3);
    assert_int_equal(server.eofs, 1);
    assert_false(server.eof_clean);
}

/* ---- over a stream that is open ---- */

/* The client does not wait: its ClientHello comes with the line before it. */
static void client_begins_early(void)
{
    stream_start(client.s);
    stream_start(server.s);
    turns(1);
    stream_put(client.s, "CONNECT\n", LINE);
    begin_tls(&client);
}

static void early_bytes_are_handed_over(void **state)
{
    struct budget budget = {.max = 1 << 30};
    (void)state;
    server.takes_line_only = true;
    client_begins_early();
    stream_count_in(server.s, &budget, 0);
    turns(2);
    assert_int_equal(server.n_got, LINE);
    size_t early = stream_rest(server.s).len;
    assert_true(early > 100);
    assert_int_equal(budget_used(&budget), early);
    server.takes_line_only = false;
    server.n_got = 0;
    begin_tls(&server); /* shakes at once: nothing else comes that would make it */
    assert_int_equal(stream_rest(server.s).len, 0);
    assert_int_equal(budget_used(&budget), 0);
    shake(2);
    both_speak();
    assert_int_equal(budget_used(&budget), 0);
}

static void begins_inside_on_data(void **state)
{
    (void)state;
    server.begins_in_line = true;
    client_begins_early();
    shake(2);
    assert_int_equal(server.ready, 2);
    both_speak();
}

/* The same of bytes that have been kept, and are given again. */
static void begins_inside_on_data_given_again(void **state)
{
    (void)state;
    server.takes_line_only = true;
    server.n_got = LINE; /* leaves all */
    client_begins_early();
    turns(2);
    assert_true(stream_rest(server.s).len > LINE);
    server.takes_line_only = false;
    server.n_got = 0;
    server.begins_in_line = true;
    stream_set_user(server.s, &user, &server);
    shake(2);
    assert_int_equal(server.ready, 2);
    both_speak();
}

/* All of it and the end have come before TLS begins. */
static void end_behind_early_bytes(void **state)
{
    (void)state;
    server.takes_line_only = true;
    client_begins_early();
    turns(2);
    shutdown(client.s->line.fd, SHUT_WR);
    turns(2);
    assert_int_equal(server.eofs, 1);
    server.takes_line_only = false;
    begin_tls(&server);
    turns(3);
    assert_int_equal(server.faults, 1);
    assert_int_equal(server.fault.code, FAULT_CLIENT_GONE);
}

static void laid_over_a_dead_stream(void **state)
{
    (void)state;
    stream_start(client.s);
    stream_start(server.s);
    turns(1);
    stream_close(server.s);
    server.s = NULL;
    turns(1);
    stream_put(client.s, "x", 1);
    begin_tls(&client);
    assert_int_equal(client.faults, 0);
    turns(2);
    assert_int_equal(client.faults, 1);
    assert_int_equal(client.fault.code, FAULT_UP_CLOSED);
    assert_int_equal(client.ready, 1);
}

static void closed_before_it_starts(void **state)
{
    (void)state;
    server.begins_in_line = true;
    client_begins_early();
    turns(1);
    stream_linger(server.s);
    server.s = NULL;
    stream_abort(client.s);
    client.s = NULL;
    turns(3);
}

/* ---- TLS in TLS ---- */

static void ends_of_tls_in_tls(void **state)
{
    (void)state;
    begin_both();
    begin_both();
    assert_int_equal(asked.calls, 2);
    both_speak();
    stream_end(client.s);
    turns(3);
    assert_int_equal(server.eofs, 1);
    assert_true(server.eof_clean);
    /* The outer one ends well, the inner one not at all. */
    struct wire *outer = server.s->wire->below;
    assert_int_equal(outer->ops->shutdown(outer), 0);
    turns(3);
    assert_int_equal(client.eofs, 1);
    assert_false(client.eof_clean);
}

static void close_ends_each_layer(void **state)
{
    (void)state;
    begin_both();
    begin_both();
    stream_close(server.s);
    server.s = NULL;
    turns(3);
    assert_int_equal(client.eofs, 1);
    assert_true(client.eof_clean);
}

static void early_bytes_within_tls(void **state)
{
    (void)state;
    begin_both();
    server.begins_in_line = true;
    stream_put(client.s, "CONNECT\n", LINE);
    begin_tls(&client);
    shake(2);
    assert_int_equal(server.ready, 2);
    both_speak();
}

/* More than one read takes, and nothing of it for us: what the outer TLS has of it is no event. */
static void tickets_within_tls(void **state)
{
    int large = 1 << 20;
    (void)state;
    setsockopt(server.s->line.fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
    begin_both();
    begin_both();
    for (int n = 300; n < 340; n += 3) {
        for (int i = 0; i < n; i++)
            assert_int_equal(SSL_new_session_ticket(tls_wire_of(server.s, NULL)->ssl), 1);
        send_some(&server, 100);
        turns(20);
        assert_int_equal(client.n_got, server.n_sent);
    }
}

/* Makes of the N bytes in BUF what W of the server would write beneath. Gives how many bytes that
 * is. */
static size_t seal(const struct wire *w, char *buf, size_t n, size_t room)
{
    SSL *ssl = container_of(w, struct tls_wire, wire)->ssl;
    BIO *own = SSL_get_wbio(ssl);
    BIO *out = BIO_new(BIO_s_mem());
    BIO_up_ref(own);
    BIO_up_ref(out);
    SSL_set0_wbio(ssl, out);
    assert_int_equal(SSL_write(ssl, buf, (int)n), (int)n);
    SSL_set0_wbio(ssl, own);
    int len = BIO_read(out, buf, (int)room);
    assert_int_equal(BIO_pending(out), 0);
    BIO_free(out);
    assert_true(len > (int)n);
    return (size_t)len;
}

/* The server sends a line, whose record of the layer at DEPTH from the top comes in two parts, cut
 * at CUT. Gives the length of that record. */
static size_t send_cut(unsigned depth, size_t cut)
{
    char buf[1024];
    size_t n = LINE;
    struct wire *w = server.s->wire;
    for (size_t i = 0; i < n; i++)
        buf[i] = byte_at(server.n_sent + i);
    n = seal(w, buf, n, sizeof(buf));
    for (unsigned i = 0; i < depth; i++) {
        w = w->below;
        n = seal(w, buf, n, sizeof(buf));
    }
    struct iovec parts[2] = {{buf, cut}, {buf + cut, n - cut}};
    assert_true(cut < n);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(client.n_got, server.n_sent);
        assert_true(stream_is_quiet(client.s, true));
        assert_int_equal(stream_is_amid(client.s), i > 0);
        assert_int_equal(w->below->ops->write(w->below, &parts[i], 1), parts[i].iov_len);
        turns(3);
    }
    server.n_sent += LINE;
    assert_int_equal(client.n_got, server.n_sent);
    assert_false(stream_is_amid(client.s));
    return n;
}

/* Of any layer, its header alone, too: nothing else tells of it. */
static void half_a_record_is_noticed(void **state)
{
    (void)state;
    for (unsigned layers = 1; layers <= 2; layers++) {
        begin_both();
        both_speak();
        for (unsigned depth = 0; depth < layers; depth++) {
            size_t n = 2;
            for (size_t cut = 1; cut < n; cut++)
                n = send_cut(depth, cut);
        }
    }
}

/* In place of OpenSSL's, which frees them where it sees no use of them. Older ones see less. */
static unsigned n_freed;

int SSL_free_buffers(SSL *ssl)
{
    (void)ssl;
    n_freed++;
    return 1;
}

/* Many records are read at once, then as many with CUT bytes of one more. Gives how often buffers
 * were freed behind those. */
static unsigned send_many(size_t cut)
{
    enum { RECORDS = 4, ROOM = 64 };
    const struct wire *plain = server.s->wire->below;
    char all[RECORDS * ROOM];
    size_t n = 0;
    size_t last = 0;
    for (int round = 0; round < 2; round++) {
        n = 0;
        for (int i = 0; i < RECORDS; i++) {
            last = n;
            for (size_t k = 0; k < LINE; k++)
                all[n + k] = byte_at(server.n_sent + k);
            n += seal(server.s->wire, all + n, LINE, ROOM);
            server.n_sent += LINE;
        }
        size_t now = round == 0 || cut == 0 ? n : last + cut;
        n_freed = 0;
        assert_int_equal(send(plain->line->fd, all, now, 0), now);
        turns(3);
        if (now < n)
            assert_int_equal(client.n_got, server.n_sent - LINE);
        assert_int_equal(send(plain->line->fd, all + now, n - now, 0), n - now);
    }
    unsigned freed = n_freed;
    turns(3);
    assert_int_equal(client.n_got, server.n_sent);
    return freed;
}

static void half_a_record_keeps_its_buffer(void **state)
{
    (void)state;
    begin_both();
    both_speak();
    assert_int_equal(send_many(0), 1);
    for (size_t cut = 1; cut < 30; cut++)
        assert_int_equal(send_many(cut), 0);
}

/* What users may do, in any order. */
static bool leaves; /* on_data() leaves some */

static size_t any_data(void *arg, const char *p, size_t n)
{
    struct end *e = arg;
    assert_int_equal(e->eofs + e->faults, 0);
    size_t used = leaves ? (size_t)rand() % (n + 1) : n;
    for (size_t i = 0; i < used; i++)
        assert_int_equal(p[i], byte_at(e->n_got + i));
    e->n_got += used;
    if (leaves && rand() % 4 == 0)
        stream_pause(e->s);
    if (leaves && rand() % 6 == 0)
        stream_resume(e->s);
    if (leaves && rand() % 9 == 0)
        stream_read_soon(e->s);
    return used;
}

static const struct stream_user any_user = {on_ready, any_data, on_eof, on_drain, on_fault};

static void any_step(struct end *e)
{
    switch (rand() % 12) {
    case 0:
        stream_set_user(e->s, NULL, NULL);
        break;
    case 1:
    case 2:
        e->eofs = e->faults = 0;
        stream_set_user(e->s, &any_user, e);
        break;
    case 3:
        stream_pause(e->s);
        break;
    case 4:
    case 5:
        stream_resume(e->s);
        break;
    case 6:
        stream_read_soon(e->s);
        break;
    case 7:
        if (rand() % 10 == 0)
            stream_end(e->s);
        break;
    default:
        if (e->s->output == OUTPUT_OPEN && stream_pending(e->s) < 300000)
            send_some(e, 1 + (size_t)rand() % 40000);
        turns(rand() % 3);
    }
}

/* All that was sent is taken, then the end is told. */
static void any_ends(struct end *e, const struct end *peer)
{
    leaves = false;
    e->eofs = e->faults = 0;
    stream_set_user(e->s, &any_user, e);
    for (int i = 0; i < 2000 && e->eofs + e->faults == 0; i++) {
        stream_resume(e->s);
        turns(1);
    }
    assert_int_equal(e->eofs, 1);
    assert_int_equal(e->n_got, peer->n_sent);
}

static void calls_in_any_order(void **state)
{
    for (unsigned seed = 0; seed < 150; seed++) {
        int small = 5000;
        srand(seed);
        leaves = true;
        if (seed % 3 == 0) {
            setsockopt(client.s->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
            setsockopt(server.s->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        }
        for (unsigned layers = seed % 3 + 1; layers > 0; layers--)
            begin_both();
        for (int i = 0; i < 300; i++)
            any_step(rand() % 2 == 0 ? &client : &server);
        stream_end(client.s);
        stream_end(server.s);
        any_ends(&client, &server);
        any_ends(&server, &client);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

static void inner_fault_is_the_inner_peers(void **state)
{
    (void)state;
    begin_both();
    asked.refuses = true;
    begin_tls(&server);
    begin_tls(&client);
    turns(10);
    assert_string_equal(server.fault.text,
                        "the client 192.0.2.1 asked by TLS for a name that is not served");
    assert_int_equal(client.fault.code, FAULT_TLS_ALERT);
}

static void send_piece(struct end *e)
{
    size_t n = 1 + (size_t)rand() % (rand() % 3 == 0 ? 60000 : 300);
    if (e->n_sent < LONG && stream_pending(e->s) < 200000)
        send_some(e, n < LONG - e->n_sent ? n : LONG - e->n_sent);
    if (e->pauses && rand() % 2 == 0)
        stream_resume(e->s);
}

/* Through a kernel that takes little, so that records are half written again and again. */
static void transfer(int layers, unsigned seed)
{
    int small = 5000;
    srand(seed);
    client.pauses = server.pauses = true;
    setsockopt(client.s->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(server.s->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    while (layers-- > 0)
        begin_both();
    for (int i = 0; i < 1000000 && (server.n_got < LONG || client.n_got < LONG); i++) {
        send_piece(&client);
        send_piece(&server);
        turns(1);
    }
    assert_int_equal(server.n_got, LONG);
    assert_int_equal(client.n_got, LONG);
    assert_true(client.drains > 0 && server.drains > 0);
    client.pauses = server.pauses = false;
    stream_resume(client.s);
    stream_resume(server.s);
    stream_end(client.s);
    stream_end(server.s);
    turns(10);
    assert_true(client.eof_clean && server.eof_clean);
    assert_int_equal(client.faults + server.faults, 0);
}

static void much_both_ways(void **state)
{
    (void)state;
    transfer(1, 1);
}

static void much_both_ways_in_tls(void **state)
{
    (void)state;
    transfer(2, 2);
}

static void much_both_ways_in_tls_in_tls(void **state)
{
    (void)state;
    transfer(3, 3);
}

/* What waits is lost with a close, and a record may be half written then. */
static void closed_with_a_half_written_record(void **state)
{
    (void)state;
    begin_both();
    begin_both();
    stream_pause(client.s);
    send_some(&server, LONG);
    turns(3);
    assert_true(stream_pending(server.s) > 0);
    stream_close(server.s);
    server.s = NULL;
    stream_resume(client.s);
    turns(200);
    assert_int_equal(client.eofs + client.faults, 1);
    assert_false(client.eof_clean);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(client_is_served),
        TEST(old_versions_are_served),
        TEST(certificate_is_chosen),
        TEST(certificate_is_chosen_later),
        TEST(context_has_it_all),
        TEST(name_is_refused),
        TEST(certificate_is_refused),
        TEST(old_client_is_refused),
        TEST(plain_client_is_told_apart),
        TEST(gone_in_the_handshake),
        TEST(cut_is_no_clean_end),
        TEST(something_else_is_told_apart),
        TEST(muted_end_is_no_clean_one),
        TEST(early_bytes_are_handed_over),
        TEST(begins_inside_on_data),
        TEST(begins_inside_on_data_given_again),
        TEST(end_behind_early_bytes),
        TEST(laid_over_a_dead_stream),
        TEST(closed_before_it_starts),
        TEST(ends_of_tls_in_tls),
        TEST(close_ends_each_layer),
        TEST(early_bytes_within_tls),
        TEST(tickets_within_tls),
        TEST(half_a_record_is_noticed),
        TEST(half_a_record_keeps_its_buffer),
        TEST(calls_in_any_order),
        TEST(inner_fault_is_the_inner_peers),
        TEST(much_both_ways),
        TEST(much_both_ways_in_tls),
        TEST(much_both_ways_in_tls_in_tls),
        TEST(closed_with_a_half_written_record),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
