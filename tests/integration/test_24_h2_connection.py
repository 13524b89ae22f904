# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards origins: one connection for a fan-out, what it costs, and what the origin says about it."""
import pytest

from testenv import h2server as h2
from testenv.crowd import CROWD, answers, at_once, fan_out, pipeline
from testenv.h2server import each, echo, held
from testenv.wait import wait_until

MIB = 1 << 20
TRIES = 11  # what an origin has not processed is asked again ten times at most


# --- one connection


@pytest.mark.concurrent
def test_a_fan_out_is_one_connection(one, serve_h2):
    server = serve_h2(each(echo))
    c, p = one()
    fan_out(c, server)
    fan_out(c, server, prefix="/again/")
    assert len(server.conns) == server.accepted == 1 and server.conns[0].sni == "localhost"
    lines = p.wait_access(lambda x: True, 2 * CROWD)
    assert {x["protocol"] for x in lines} == {"h2"} and {x["tls"] for x in lines} == {"TLSv1.3"}


def test_streams_go_side_by_side(one, serve_h2):
    """All are there before one is answered, and the last may be answered first."""
    handler, streams = held()
    server = serve_h2(handler)
    c, _ = one()
    pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
    wait_until(lambda: len(streams) == CROWD, 5, "all to be under way")
    assert server.conns[0].most == CROWD and len(server.conns) == 1
    for stream in reversed(streams):
        echo(stream)
    assert [r.text for r in answers(c, CROWD)] == ["/%d" % i for i in range(CROWD)]


@pytest.mark.concurrent
def test_many_clients_share_a_connection(make_proxy, serve_h2):
    server = serve_h2(each(echo))
    p = make_proxy("workers = 1\n")
    urls = [server.url("/%d" % i) for i in range(CROWD)]
    assert [r.text for r in at_once(p, urls)] == ["/%d" % i for i in range(CROWD)]
    assert len(server.conns) == 1


@pytest.mark.parametrize("limit", [1, 7, 30])
def test_concurrent_streams_are_respected_and_the_rest_goes_elsewhere(one, serve_h2, limit):
    handler, streams = held()
    server = serve_h2(handler, settings={h2.MAX_CONCURRENT_STREAMS: limit})
    c, _ = one("client { max_pipeline = 60 }\n")
    warm = server.url("/warm")
    c.request("GET", warm)
    wait_until(lambda: streams, 5, "the first")
    echo(streams.pop())
    assert c.response().text == "/warm"
    pipeline(c, [server.url("/%d" % i) for i in range(60)])
    wait_until(lambda: len(streams) == 60, 10, "all to be under way")
    assert all(conn.most <= limit for conn in server.conns)
    assert -(-60 // limit) <= len(server.conns) <= 60
    if limit > 1:
        assert len(server.conns) < 60
    for stream in streams:
        echo(stream)
    assert [r.text for r in answers(c, 60)] == ["/%d" % i for i in range(60)]


def test_a_limit_that_comes_only_with_the_settings(one, serve_h2):
    """A cold fan-out waits for it, so that nothing has to be refused and sent again."""
    handler, streams = held()
    server = serve_h2(handler, settings={h2.MAX_CONCURRENT_STREAMS: 5})
    c, _ = one()
    pipeline(c, [server.url("/%d" % i) for i in range(40)])
    wait_until(lambda: len(streams) == 40, 10, "all to be under way")
    assert all(conn.most <= 5 for conn in server.conns)
    for stream in streams:
        echo(stream)
    assert [r.text for r in answers(c, 40)] == ["/%d" % i for i in range(40)]
    assert len(server.requests) == 40 and len(server.conns) <= 16


def test_max_per_host_counts_streams(one, serve_h2):
    handler, streams = held()
    server = serve_h2(handler)
    c, _ = one("upstream { max_per_host = 4 }\n")
    pipeline(c, [server.url("/%d" % i) for i in range(12)])
    for i in range(12):
        wait_until(lambda i=i: len(streams) > i, 5, "stream %d" % i)
        assert len(streams) <= i + 4
        echo(streams[i])
    assert [r.status for r in answers(c, 12)] == [200] * 12
    assert server.conns[0].most <= 4


def test_a_thousand_streams(make_proxy, serve_h2):
    handler, streams = held()
    server = serve_h2(handler)
    p = make_proxy("workers = 1\nclient { max_pipeline = 1000 }\nupstream { max_per_host = 1000 }\n")
    with p.client(timeout=30) as c:
        pipeline(c, [server.url("/%d" % i) for i in range(1000)])
        wait_until(lambda: len(streams) == 1000, 15, "all to be under way")
        assert len(server.conns) == 1
        for stream in streams:
            echo(stream)
        assert [r.text for r in answers(c, 1000)] == ["/%d" % i for i in range(1000)]


def test_different_names_never_share_a_connection(one, serve_h2):
    """The same address and a certificate for both: still two connections."""
    server = serve_h2(each(lambda s: s.respond(s.conn.sni)))
    c, _ = one()
    for name in ("a.localhost", "b.localhost", "a.localhost", "b.localhost"):
        assert c.get(server.url(host=name)).text == name
    assert [conn.sni for conn in server.conns] == ["a.localhost", "b.localhost"]
    for stream in server.requests:
        assert stream.get(":authority") == "%s:%d" % (stream.conn.sni, server.port)


def test_rules_that_differ_never_share_a_connection(one, serve_h2):
    """Both go to one place under one name, but one of them shows a certificate."""
    server = serve_h2(each(echo))
    c, _ = one(
        'rule "a.localhost" { connect_to = "127.0.0.1:%d" sni = "localhost" }\n'
        'rule "b.localhost" { connect_to = "127.0.0.1:%d" sni = "localhost" verify = off }\n' % ((server.port,) * 2)
    )
    for name in ("a.localhost", "b.localhost"):
        assert c.get("http://%s/" % name).status == 200
    assert len(server.conns) == 2


# --- writes


def test_a_burst_leaves_in_few_records(one, serve_h2):
    """100 small requests that arrive together are a few TLS records, not a hundred."""
    server = serve_h2(each(echo))
    c, _ = one()
    fan_out(c, server, 3)
    conn = server.conns[0]
    records, frames = conn.channel.records, len(conn.frames)
    pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
    got = answers(c, CROWD)
    assert [r.status for r in got] == [200] * CROWD
    took = conn.channel.records - records
    print("100 requests: %d records, %d frames" % (took, len(conn.frames) - frames))
    assert took <= 6, took


def test_uploads_leave_in_full_records(one, serve_h2):
    server = serve_h2(each(lambda s: s.respond("%d" % s.received)), settings={h2.INITIAL_WINDOW_SIZE: MIB})
    c, _ = one()
    assert c.get(server.url()).status == 200
    conn = server.conns[0]
    before = conn.channel.records
    assert c.exchange("POST", server.url(), body=b"x" * 60000).text == "60000"
    assert conn.channel.records - before <= 16


def test_small_answers_cost_few_frames(one, serve_h2):
    """Windows are opened again when it is worth a frame."""
    server = serve_h2(each(lambda s: s.respond(b"x" * 1000)))
    c, _ = one()
    for _ in range(5):
        pipeline(c, [server.url("/%d" % i) for i in range(CROWD)])
        assert [len(r.body) for r in answers(c, CROWD)] == [1000] * CROWD
    assert server.conns[0].count(h2.WINDOW_UPDATE) <= 60


# --- what the origin says about the connection


def test_large_settings(one, serve_h2):
    """Frames of a MiB and a table of 64 KiB are offered; nobody has to use them."""
    wide = {h2.MAX_FRAME_SIZE: MIB, h2.HEADER_TABLE_SIZE: 65536, h2.INITIAL_WINDOW_SIZE: h2.MAX_WINDOW}
    server = serve_h2(each(lambda s: s.respond("%d" % s.received)), settings=wide)
    c, _ = one()
    for i in range(5):
        fields = ["X-%d: %s" % (n, "v" * n) for n in range(50)]
        assert c.exchange("POST", server.url(), *fields, body=bytes(MIB * i)).text == "%d" % (MIB * i)
    assert len(server.conns) == 1


def test_an_idle_connection_answers(one, serve_h2):
    server = serve_h2(each(echo))
    c, _ = one()
    fan_out(c, server, 2)
    conn = server.conns[0]
    for i in range(10):
        conn.ping(b"number %d" % i)
        wait_until(lambda i=i: b"number %d" % i in conn.pongs, 5, "the answer")
    with conn.lock:
        conn.set({h2.HEADER_TABLE_SIZE: 100})
        conn.encoder.header_table_size = 0  # the next block begins with a change of its table
    wait_until(lambda: conn.acks == 2, 5, "the acknowledgement")
    fan_out(c, server, 5)
    assert len(server.conns) == 1


def test_other_settings_and_frames(one, serve_h2):
    """PING is answered; PRIORITY, unknown frames, unknown settings and reserved bits are nothing."""

    def app(stream):
        conn, number = stream.conn, stream.id
        conn.raw(h2.frame(h2.PRIORITY, 0, number, b"\0\0\0\0\x10") + h2.frame(0xBE, 0xFF, number, b"what is this"))
        conn.raw(h2.frame(h2.PRIORITY, 0, 77, b"\0\0\0\x03\x10") + h2.frame(0x0A, 0, 0, b"alt-svc"))
        conn.raw(h2.settings({0x99: 7, 0xABCD: 2**32 - 1, 8: 1}) + h2.frame(h2.PING, 0, 0, b"12345678"))
        stream.head()
        conn.raw(h2.frame(0xBE, 0, number, b"in between") + h2.frame(h2.SETTINGS))
        stream.data(b"fine", end=True)

    server = serve_h2(each(app))
    c, _ = one()
    for _ in range(5):
        assert c.get(server.url()).text == "fine"
    (conn,) = server.conns
    wait_until(lambda: len(conn.pongs) == 5 and conn.acks == 11, 5, "PING and SETTINGS to be answered")
    assert set(conn.pongs) == {b"12345678"}


def test_push_is_refused(one, serve_h2):
    """It is switched off, so a PUSH_PROMISE is an error of the connection."""

    def app(stream):
        conn = stream.conn
        if conn.number == 0 and stream.target == "/push":
            with conn.lock:
                block = conn.block([(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/p")])
                conn.raw(h2.frame(h2.PUSH_PROMISE, h2.END_HEADERS, stream.id, b"\0\0\0\x02" + block))
        else:
            echo(stream)

    server = serve_h2(each(app))
    c, _ = one()
    assert c.get(server.url("/a")).text == "/a"
    assert server.conns[0].peer.get(h2.ENABLE_PUSH) == 0
    r = c.exchange("POST", server.url("/push"))
    assert r.status == 502 and r.error == "http_protocol_error"
    wait_until(lambda: server.conns[0].closed, 5, "the connection to be closed")
    assert server.conns[0].gone is not None and server.conns[0].gone[1] == h2.PROTOCOL_ERROR
    assert c.get(server.url("/b")).text == "/b" and len(server.conns) == 2


def test_settings_of_the_compression(one, serve_h2):
    """No table at the origin: the encoder has to follow, and to say so."""
    server = serve_h2(each(echo))
    c, _ = one()
    fan_out(c, server, 10)
    conn = server.conns[0]
    acks = conn.acks
    with conn.lock:
        conn.set({h2.HEADER_TABLE_SIZE: 0})
    wait_until(lambda: conn.acks > acks, 5, "the acknowledgement")
    conn.decoder.max_allowed_table_size = 0
    for i in range(5):
        fan_out(c, server, 10, "/%d/" % i)
    assert len(server.conns) == 1 and conn.decoder.header_table_size == 0


def test_a_limit_that_changes_under_way(one, serve_h2):
    """100 streams, then 3, then 100 again."""
    handler, streams = held()
    server = serve_h2(handler, settings={h2.MAX_CONCURRENT_STREAMS: 100})
    c, _ = one()

    def turn(count):
        pipeline(c, [server.url("/%d" % i) for i in range(count)])
        wait_until(lambda: len(streams) == count, 5, "the streams")
        used = {s.conn.number for s in streams}
        for stream in streams:
            echo(stream)
        del streams[:]
        answers(c, count)
        return used

    assert turn(20) == {0}
    conn = server.conns[0]
    conn.set({h2.MAX_CONCURRENT_STREAMS: 3})
    wait_until(lambda: conn.acks >= 2, 5, "the acknowledgement")
    conn.most = 0
    assert 0 in turn(20) and conn.most <= 3
    for other in server.conns:
        acks = other.acks
        other.set({h2.MAX_CONCURRENT_STREAMS: 100})
        wait_until(lambda: other.acks > acks, 5, "the acknowledgement")
    assert len(turn(20)) == 1


def test_no_streams_at_all(one, serve_h2):
    """An origin that never allows a stream: a clean error in time, and no storm of connections."""
    server = serve_h2(each(lambda s: s.refuse()), settings={h2.MAX_CONCURRENT_STREAMS: 0})
    c, p = one("upstream { connect_timeout = 1s response_timeout = 1s queue_timeout = 1s }\n")
    c.request("GET", server.url())
    r = c.response()
    assert r.status in (502, 503, 504) and r.error, r
    assert 1 <= len(server.h2) <= server.accepted <= TRIES and not p.dead()
