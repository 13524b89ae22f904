#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The client that tlsfan was made for: a page fetched ten times at once, and how long it took.

gevent is patched as grequests patches it, and urllib3 does its TLS through pyOpenSSL. Over https
that pair waits with select.poll(), which is not patched, so one answer blocks all others and ten
pages come one after another. Over http, with http_proxy set to tlsfan, they come at once.
"""

from gevent import monkey

monkey.patch_all(thread=False, select=False)

import argparse  # noqa: E402 (what is patched has to be patched first)
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402

import gevent.pool  # noqa: E402
import requests  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import urllib3.contrib.pyopenssl

urllib3.contrib.pyopenssl.inject_into_urllib3()


def fetch(url, ca):
    """Fetches one page; returns what went wrong, or None."""
    try:
        with requests.Session() as session:
            session.get(url, verify=ca, timeout=60).raise_for_status()
    except requests.RequestException as error:
        return error
    return None


def main():
    parser = argparse.ArgumentParser(description="fetch a page ten times at once")
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--ca", metavar="FILE", default=True, help="the CA to trust, for https")
    arguments = parser.parse_args()
    start = time.monotonic()
    pool = gevent.pool.Pool(arguments.count)
    faults = pool.map(lambda _: fetch(arguments.url, arguments.ca), range(arguments.count))
    seconds = time.monotonic() - start
    faults = [fault for fault in faults if fault is not None]
    for fault in faults:
        print(f"fan10: {fault}", file=sys.stderr)
    if faults:
        return 1
    print(f"{arguments.count} pages of {arguments.url} in {seconds:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
