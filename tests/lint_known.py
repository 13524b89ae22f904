# SPDX-License-Identifier: Apache-2.0
"""Circles of includes that are left, and which tests hold files that have none of their own.

An entry that is not needed any more is a fault.
"""

# A .c file whose includes close a circle in its folder -> why it may. A circle is a.c including
# b.h while b comes back to a; without these files' includes there is none.
CLOSES_CIRCLE = {
    "proxy/base/log.c": "a line's time is the loop's, and a loop that breaks a claim logs it",
    "proxy/base/log_limit.c": "what is held back is told by a loop, whose own faults are held back, too",
    "proxy/exchange/exchange.c": "the struct and its states are one file; answer, hold, route take the struct",
    "proxy/exchange/stats.c": "names the phases of an exchange, and a record is kept in its ring",
    "proxy/exchange/state.c": "the state is a field of the struct, and its enum is here",
    "proxy/http/rewrite.c": "the struct is rewrite.h's, and rewrite_url.c takes it",
    "proxy/net/stream.c": "the struct is stream.h's, and linger.c takes it",
    "proxy/service/service_conn.c": "the struct is service_conn.h's, and admission.c takes it",
    "proxy/upstream/pool_conn.c": "a connection is embedded in a transport, and the pool has lists of them",
    "proxy/upstream/up_h2_window.c": "a window is embedded in the stream that it needs",
}

# A .c file without a tests/unit/test_NAME.c -> the test that fails when it is broken.
TESTED_BY = {
    "proxy/net/tls_pem.c": "unit/test_tls_ca.c",
    "proxy/base/log_limit.c": "unit/test_log.c",
    "proxy/capture.c": "integration/test_54_capture_run.py",
    "proxy/capture_keeper.c": "integration/test_54_capture_run.py",
    "proxy/conf/build.c": "unit/test_conf.c",
    "proxy/conf/check.c": "unit/test_conf.c",
    "proxy/conf/conf_fault.c": "unit/test_conf.c",
    "proxy/conf/conf_load.c": "unit/test_conf.c",
    "proxy/conf/dump.c": "integration/test_09_config.py",
    "proxy/conf/settings.c": "unit/test_conf.c",
    "proxy/conf/sources.c": "unit/test_conf.c",
    "proxy/conf/text.c": "unit/test_conf.c",
    "proxy/conf/tls_key.c": "unit/test_tls_ctx.c",
    "proxy/exchange/polite.c": "integration/test_69_politeness.py",
    "proxy/exchange/route_target.c": "unit/test_route.c",
    "proxy/exchange/route_turned.c": "unit/test_route.c",
    "proxy/health.c": "integration/test_20_service.py",
    "proxy/http/h1_framing.c": "unit/test_h1_body.c",
    "proxy/http/rewrite_url.c": "unit/test_rewrite.c",
    "proxy/logs.c": "integration/test_62_keylog.py",
    "proxy/main.c": "integration/test_09_config.py",
    "proxy/net/dns_channel.c": "unit/test_dns.c",
    "proxy/net/dns_lookup.c": "unit/test_dns.c",
    "proxy/net/stream_in.c": "unit/test_stream.c",
    "proxy/net/stream_out.c": "unit/test_stream.c",
    "proxy/net/stream_state.c": "unit/test_stream.c",
    "proxy/net/tls_strength.c": "unit/test_tls_ctx.c",
    "proxy/net/tls_verdict.c": "unit/test_tls_names.c",
    "proxy/net/tls_wire.c": "unit/test_tls_client.c",
    "proxy/net/wire.c": "unit/test_stream.c",
    "proxy/upstream/origin_pace.c": "integration/test_69_politeness.py",
    "proxy/own/ahead_key.c": "unit/test_readahead.c",
    "proxy/own/fetch.c": "unit/test_readahead.c",
    "proxy/own/name_conn.c": "unit/test_name_service.c",
    "proxy/own/name_query.c": "unit/test_name_service.c",
    "proxy/own/next_page.c": "integration/test_50_readahead.py",
    "proxy/run.c": "integration/test_45_run_signals.py",
    "proxy/server.c": "integration/test_09_config.py",
    "proxy/service/batch_call.c": "integration/test_21_batch.py",
    "proxy/service/service.c": "integration/test_20_service.py",
    "proxy/service/service_conn.c": "integration/test_20_service.py",
    "proxy/service/service_head.c": "integration/test_20_service.py",
    "proxy/service/service_input.c": "integration/test_20_service.py",
    "proxy/shared.c": "integration/test_29_upgrade.py",
    "proxy/upstream/up_h1_in.c": "unit/test_up_h1.c",
    "proxy/upstream/up_h2_stream_out.c": "unit/test_up_h2_stream.c",
    "proxy/worker.c": "integration/test_09_config.py",
}
