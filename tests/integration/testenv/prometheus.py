# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes one tlsfan five times a second."""
import json
import os
import shutil
import subprocess
import urllib.request

from .ports import free_port
from .proxy import OPENER

CONF = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
rule_files: [%s]
scrape_configs:
  - job_name: tlsfan
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""
PROGRAM = shutil.which("prometheus")


class Prometheus:
    """RULES are paths of files with rules."""

    def __init__(self, directory, proxy, rules=()):
        self.port = free_port()
        os.makedirs(str(directory))
        with open(os.path.join(str(directory), "conf.yml"), "w") as f:
            f.write(CONF % (", ".join(rules), proxy.service_port))
        with open(os.path.join(str(directory), "log"), "wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--config.file", "conf.yml", "--storage.tsdb.path", "data",
                 "--web.listen-address", "127.0.0.1:%d" % self.port],
                cwd=str(directory), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.defpath})

    def ask(self, path):
        """`data` of the answer; None: it does not answer yet, or says that the question is wrong."""
        try:
            with OPENER.open("http://127.0.0.1:%d/api/v1/%s" % (self.port, path), timeout=10) as r:
                return json.load(r)["data"]
        except OSError:
            return None

    def series(self, text):
        """[(labels, value)] of an instant query; None as ask()."""
        data = self.ask("query?query=" + urllib.request.quote(text))
        return None if data is None else [(x["metric"], float(x["value"][1])) for x in data["result"]]

    def values(self, text):
        return [value for _, value in self.series(text) or []]

    def stop(self):
        self.process.kill()
        self.process.wait()
