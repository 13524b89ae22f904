# SPDX-License-Identifier: Apache-2.0
import os, urllib2

class Plain(urllib2.BaseHandler):
    handler_order = 400  # before the one that would open https:// itself
    def https_open(self, asked):
        url = asked.get_full_url().replace("https://", "http://", 1)
        plain = urllib2.Request(url, asked.data, asked.headers)
        plain.get_method = asked.get_method
        return self.parent.open(plain, timeout=asked.timeout)

urllib2.proxy_bypass = lambda host: False  # or what no_proxy names would go out in plain
proxy = urllib2.ProxyHandler({"http": os.environ["http_proxy"]})
urllib2.install_opener(urllib2.build_opener(Plain, proxy))
