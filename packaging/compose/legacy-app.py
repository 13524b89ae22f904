# SPDX-License-Identifier: Apache-2.0
"""Stands for a program that nobody will teach TLS: it asks for URLs in plain HTTP, one after the other.

    legacy-app.py [--once] URL...

It goes through http_proxy, or HTTP_PROXY, as its library does by itself. Python 2.7 and 3."""
import os
import sys
import time

try:
    from urllib2 import ProxyHandler, build_opener
except ImportError:
    from urllib.request import ProxyHandler, build_opener


def main():
    urls = [word for word in sys.argv[1:] if word != "--once"]
    proxy = os.environ.get("http_proxy") or os.environ.get("HTTP_PROXY")
    opener = build_opener(ProxyHandler({"http": proxy} if proxy else {}))
    failed = False
    while True:
        for url in urls:
            try:
                answer = opener.open(url, timeout=60)
                print("%s %d %d bytes" % (url, answer.getcode(), len(answer.read())))
            except IOError as e:
                failed = True
                print("%s %s" % (url, e))
        if "--once" in sys.argv:
            return failed
        time.sleep(10)


if __name__ == "__main__":
    sys.exit(main())
