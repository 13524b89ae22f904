# SPDX-License-Identifier: Apache-2.0
"""A JSON value with one thing wrong, for schemas that are to see it."""
import copy


def altered(value, path, to):
    """A copy of VALUE where PATH leads to TO, or to nothing where that is None."""
    changed = at = copy.deepcopy(value)
    for step in path[:-1]:
        at = at[step]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return changed
