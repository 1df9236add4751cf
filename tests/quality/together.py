"""Labelled files put into one job for each step: a cycle costs nearly the same for thirty series as for one."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from detectors.units import WEEK
from exporter.backtest.quality import leading
from exporter.backtest.resample import Group


def together(groups: Iterable[Group], trained: bool) -> list[Group]:
    """Return the groups with those of the same channels and step put together, without a grid none.

    Parameters
    ----------
    groups : iterable of Group
    trained : bool
        False: each is moved by whole weeks and by half a step at most, onto one grid, so that all begin within one week
        and a time of the week stays what it is. True: each is moved so that the rows that are not counted, which are
        what a detector is trained on, end together.
    """
    alike: defaultdict[tuple[tuple[str, ...], float], list[Group]] = defaultdict(list)
    alone = []
    for each in groups:
        if each.clock is None:
            alike[each.series[0].channels, each.step].append(each)
        else:
            alone.append(each)
    return [_one(members, _ends(members) if trained else _weeks(members)) for members in alike.values()] + alone


def _weeks(members: Sequence[Group]) -> list[list[int]]:
    """Return the first column of each series: how far into the week it begins, the first one at the earliest."""
    first = members[0].origin
    shifts = [round((each.origin - first) % WEEK / each.step) % round(WEEK / each.step) for each in members]
    return [[shift] * len(each.series) for shift, each in zip(shifts, members, strict=True)]


def _ends(members: Sequence[Group]) -> list[list[int]]:
    """Return the first column of each series, so that what is not counted ends in the same column."""
    ends = [
        [
            int(slots[max(leading(series.label), 1) - 1])
            for series, slots in zip(each.series, each.slots, strict=True)
            if series.label is not None
        ]
        for each in members
    ]
    last = max(end for each in ends for end in each)
    return [[last - end for end in each] for each in ends]


def _one(members: Sequence[Group], firsts: Sequence[Sequence[int]]) -> Group:
    if len(members) == 1 and len(set(firsts[0])) == 1:
        return members[0]
    series = [one for each in members for one in each.series]
    begins = [begin for each in firsts for begin in each]
    columns = max(begin + each.values.shape[2] for each, first in zip(members, firsts, strict=True) for begin in first)
    values = np.full((len(series), len(series[0].channels), columns), np.nan)
    slots = []
    rows = ((each, row) for each in members for row in range(len(each.series)))
    for at, (begin, (each, row)) in enumerate(zip(begins, rows, strict=True)):
        values[at, :, begin : begin + each.values.shape[2]] = each.values[row]
        slots.append(each.slots[row] + begin)
    return replace(members[0], series=series, values=values, slots=slots)
