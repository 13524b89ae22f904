# SPDX-License-Identifier: Apache-2.0
import os, requests

class Plain(requests.adapters.HTTPAdapter):
    def send(self, request, **how):
        request.url = request.url.replace("https://", "http://", 1)
        how["proxies"] = {"http": os.environ["http_proxy"]}  # or the request would go out in plain
        return super(Plain, self).send(request, **how)

session = requests.Session()
for scheme in ("https://", "http://"):  # redirects come back with the second
    session.mount(scheme, Plain())
