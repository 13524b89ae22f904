# SPDX-License-Identifier: Apache-2.0
"""What does not keep a rule of tests/lint yet, and which tests hold files that have none of their own.

The first three lists may only shrink: an entry that is not needed any more is a fault.
"""

# Files over the soft limit of lines.
LONG = {
    "proxy/client/client.c",
    "proxy/http/h1_body.c",
    "proxy/http/uri.c",
    "proxy/net/dns.c",
    "proxy/server.c",
    "proxy/service/batch_read.c",
    "proxy/service/caller.c",
    "proxy/upstream/up_h1.c",
    "proxy/upstream/up_h2_stream.c",
}

# A .c file whose includes close a circle in its folder -> why it may. A circle is a.c including
# b.h while b comes back to a; without these files' includes there is none.
CLOSES_CIRCLE = {
    "proxy/base/log.c": "a line's time is the loop's, and a loop that breaks a claim logs it",
    "proxy/base/log_limit.c": "what is held back is told by a loop, whose own faults are held back, too",
    "proxy/client/client.c": "one struct, whose files call each other through it",
    "proxy/exchange/exchange.c": "the struct and its states are one file; answer, hold, route take the struct",
    "proxy/exchange/stats.c": "names the phases of an exchange, and a record is kept in its ring",
    "proxy/exchange/state.c": "the state is a field of the struct, and its enum is here",
    "proxy/http/rewrite.c": "the struct is rewrite.h's, and rewrite_url.c takes it",
    "proxy/manager.c": "the watchdog asks the workers, and a worker takes sockets from the service manager",
    "proxy/net/dns.c": "questions and the channel that asks them hold each other",
    "proxy/net/stream.c": "the struct is stream.h's, and linger.c takes it",
    "proxy/service/caller.c": "the struct is caller.h's, and places.c takes it",
    "proxy/upstream/pool_conn.c": "a connection is embedded in a transport, and the pool has lists of them",
    "proxy/upstream/up_h2_window.c": "a window is embedded in the stream that it needs",
}

# Files that assign a state outside of a function x_set_state() -> how often.
STATES = {
    "proxy/client/answers.c": 1,
    "proxy/client/body.c": 3,
    "proxy/client/client.c": 4,
    "proxy/exchange/request_body.c": 9,
    "proxy/server.c": 2,
    "proxy/service/batch.c": 3,
    "proxy/upstream/pool.c": 2,
    "proxy/upstream/up_h1.c": 4,
    "proxy/upstream/up_h2.c": 1,
    "proxy/upstream/up_h2_stream.c": 4,
}

# A .c file without a tests/unit/test_NAME.c -> the test that fails when it is broken.
TESTED_BY = {
    "proxy/base/log_limit.c": "unit/test_log.c",
    "proxy/client/admit.c": "unit/test_client.c",
    "proxy/client/answers.c": "unit/test_client.c",
    "proxy/client/body.c": "unit/test_client.c",
    "proxy/client/room.c": "unit/test_client.c",
    "proxy/conf/build.c": "unit/test_conf.c",
    "proxy/conf/check.c": "unit/test_conf.c",
    "proxy/conf/conf_fault.c": "unit/test_conf.c",
    "proxy/conf/conf_load.c": "unit/test_conf.c",
    "proxy/conf/dump.c": "integration/test_09_config.py",
    "proxy/conf/files.c": "unit/test_conf.c",
    "proxy/conf/htpasswd.c": "unit/test_policy.c",
    "proxy/conf/reader.c": "unit/test_conf.c",
    "proxy/conf/rule_index.c": "unit/test_rule.c",
    "proxy/conf/settings.c": "unit/test_conf.c",
    "proxy/conf/sources.c": "unit/test_conf.c",
    "proxy/conf/text.c": "unit/test_conf.c",
    "proxy/conf/tls_key.c": "unit/test_tls_ctx.c",
    "proxy/conf/value_net.c": "unit/test_conf.c",
    "proxy/exchange/name.c": "integration/test_32_search.py",
    "proxy/exchange/performer.c": "unit/test_exchange.c",
    "proxy/exchange/redirect.c": "integration/test_40_expect.py",
    "proxy/exchange/trust.c": "integration/test_08_access.py",
    "proxy/health.c": "integration/test_20_service.py",
    "proxy/http/rewrite_url.c": "unit/test_rewrite.c",
    "proxy/listen.c": "integration/test_09_config.py",
    "proxy/main.c": "integration/test_09_config.py",
    "proxy/manager.c": "integration/test_29_upgrade.py",
    "proxy/net/dns_channel.c": "unit/test_dns.c",
    "proxy/net/stream_in.c": "unit/test_stream.c",
    "proxy/net/stream_out.c": "unit/test_stream.c",
    "proxy/net/stream_state.c": "unit/test_stream.c",
    "proxy/net/tls_strength.c": "unit/test_tls_ctx.c",
    "proxy/net/tls_verdict.c": "unit/test_tls_names.c",
    "proxy/net/tls_wire.c": "unit/test_tls_client.c",
    "proxy/net/wire.c": "unit/test_stream.c",
    "proxy/run.c": "integration/test_45_run_signals.py",
    "proxy/server.c": "integration/test_09_config.py",
    "proxy/service/batch_body.c": "unit/test_batch_read.c",
    "proxy/service/batch_item.c": "unit/test_batch.c",
    "proxy/service/call.c": "integration/test_21_batch.py",
    "proxy/service/caller.c": "integration/test_20_service.py",
    "proxy/service/feed.c": "integration/test_20_service.py",
    "proxy/service/pages.c": "integration/test_20_service.py",
    "proxy/service/service.c": "integration/test_20_service.py",
    "proxy/service/total.c": "unit/test_metrics.c",
    "proxy/shared.c": "integration/test_29_upgrade.py",
    "proxy/upstream/pool_conn.c": "unit/test_pool.c",
    "proxy/upstream/up_h2_stream.c": "unit/test_up_h2.c",
    "proxy/watcher.c": "integration/test_47_files.py",
    "proxy/worker.c": "integration/test_09_config.py",
}
