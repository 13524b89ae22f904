# SPDX-License-Identifier: Apache-2.0
"""What tests/bench/run is made of; tests/README.md tells which module does what."""

from . import callgrind, chart, report
from . import cases_requests, cases_bulk, cases_cold  # noqa: F401  they declare their cases, in this order
from .bench import Bench
from .case import CASES
from .common import Failure
from .peers import PEERS, TITLES
from .rounds import measure as measure_case

__all__ = ["CASES", "PEERS", "TITLES", "Bench", "Failure", "callgrind", "chart", "measure_case", "report"]
