# SPDX-License-Identifier: Apache-2.0
"""Rounds in which the proxies take turns, so that whatever else the machine does meets all of them."""

import contextlib
import statistics
import sys

from .case import prepared
from .common import Failure

# A median of five is not certain on a busy machine: before one counts as worse than the other, as many rounds
# again are added, twice at most.
LOOKS = 3


class Result:
    """What was measured of one case: rounds of each peer, and why a peer has none."""

    def __init__(self, item):
        self.case = item
        self.rounds = {}
        self.failed = {}

    def median(self, figure, name):
        """None where there is no such figure."""
        values = [r[figure] for r in self.rounds.get(name, ()) if figure in r]
        return statistics.median(values) if values else None

    def worse(self):
        """Pairs of those that are judged of which the first is worse than the second in the headline."""
        figure = next(iter(self.case.figures))
        medians = {name: self.median(figure, name) for pair in self.case.judged for name in pair}
        return [(a, b) for a, b in self.case.judged if None not in (medians[a], medians[b]) and medians[a] > medians[b]]


def measure(bench, item, names, rounds, again):
    """All rounds of a case with the peers of these names; AGAIN: look again where one is worse."""
    result = Result(item)
    with contextlib.ExitStack() as stack:
        turns = {}
        for name in names:
            attempt(result, name, lambda name=name: turns.__setitem__(
                name, stack.enter_context(prepared(bench, item, name))))
        count = item.rounds or rounds
        for number in range(count * (LOOKS if again else 1)):
            if number >= count and number % count == 0 and not result.worse():
                break
            one_round(result, turns, number)
    return result


def one_round(result, turns, number):
    """Each round begins with another peer."""
    names = list(turns)
    for i in range(len(names)):
        name = names[(number + i) % len(names)]
        if name not in result.failed:
            attempt(result, name, lambda name=name: result.rounds.setdefault(name, []).append(turns[name]()))


def attempt(result, name, action):
    """A peer that fails is out of this case, with its rounds; the others go on."""
    try:
        action()
    except Failure as failure:
        result.failed[name] = str(failure)
        result.rounds.pop(name, None)
        print(f"run: {result.case.name}, {name}: {failure}", file=sys.stderr)
