# SPDX-License-Identifier: Apache-2.0
"""Packages of npm that a test needs; package-lock.json says which, with their sums."""
import os
import shutil
import subprocess


def npm_modules(source, directory, what):
    """Copies SOURCE, which has the lock file, to DIRECTORY and installs there; the path of node_modules."""
    shutil.copytree(source, directory)
    npm = shutil.which("npm")
    assert npm, "no npm: it fetches " + what
    # With the proxy variables of whoever runs the tests: npm may need them.
    done = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=directory,
                          env=dict(os.environ, npm_config_update_notifier="false"), capture_output=True, text=True,
                          timeout=240)
    assert done.returncode == 0, "npm could not fetch %s:\n%s" % (what, done.stderr[-3000:])
    return os.path.join(directory, "node_modules")
