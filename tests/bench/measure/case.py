# SPDX-License-Identifier: Apache-2.0
"""What a case is. Modules named cases_*.py declare theirs with @case."""

import contextlib
import dataclasses
import functools
import typing

from . import peers

CASES = {}


@dataclasses.dataclass(frozen=True)
class Figure:
    title: str
    unit: str
    compared: bool = True  # the less the better, and against whom


@dataclasses.dataclass(frozen=True)
class Case:
    """FUNCTION measures one round of one peer and returns {figure: number}; the first figure is the headline.

    It gets (bench, running) with a proxy that all rounds of the case share; or, of a fresh case, (bench,
    start), where start(**options) is a context of a proxy of its own. What it returns beyond the figures
    goes to the JSON file only.
    """
    name: str
    title: str
    figures: dict
    peers: tuple
    function: typing.Callable
    short: bool = False    # taken by --short
    judged: tuple = ()     # then the first of each of these pairs may not cost more than the second
    fresh: bool = False
    rounds: int | None = None  # where it is not for --rounds to say
    options: dict = dataclasses.field(default_factory=dict)  # of the proxy that is shared


def case(name, title, figures, names, **more):
    def declare(function):
        CASES[name] = Case(name, title, figures, tuple(names), function, **more)
        return function
    return declare


def starter(bench, name):
    """start(**options), a context of a proxy of that name."""
    return functools.partial(peers.started, bench, peers.PEERS[name])


@contextlib.contextmanager
def prepared(bench, item, name):
    """Yields a function that measures one round of the case with the peer of that name."""
    start = starter(bench, name)
    if item.fresh:
        yield lambda: item.function(bench, start)
        return
    with start(**options_of(bench, item)) as running:
        yield lambda: item.function(bench, running)


def options_of(bench, item):
    """The case's options; an origin's port is given by its name."""
    options = dict(item.options)
    if "origin" in options:
        options["origin"] = getattr(bench.origin, options["origin"])
    return options
