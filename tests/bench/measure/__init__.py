# SPDX-License-Identifier: Apache-2.0
"""What tests/bench/run is made of; tests/README.md tells which module does what."""

from . import callgrind, chart, configs, peers, report, rounds
from . import cases_requests, cases_bulk, cases_cold, cases_instructions  # noqa: F401  they declare the cases
from . import cases_latency, cases_memory, cases_scale  # noqa: F401  and these
from .bench import Bench
from .case import CASES
from .common import Failure
from .peers import PEERS, TITLES
from .rounds import measure as measure_case

__all__ = ["CASES", "PEERS", "TITLES", "Bench", "Failure", "callgrind", "chart", "configs", "measure_case", "peers",
           "report", "rounds"]
