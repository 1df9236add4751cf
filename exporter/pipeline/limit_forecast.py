"""When the series of a job reach their limit: kept by hour, worked out again now and then, a part in each cycle."""

import math
from typing import Final

import numpy as np

from detectors.entity_state import Column, EntityState
from detectors.types import Batch, Flags, Floats, Key, State
from detectors.units import HOUR
from exporter.config.sections.forecast import ForecastConfig
from exporter.config.sections.job import JobConfig
from exporter.context.growth import Rows, Values
from exporter.context.passage import CELLS, cone, passage
from exporter.pipeline import hourly_past
from exporter.pipeline.reaches import Cone, Reaches

FAR: Final = 12
"""Hours after which a series is looked at again whose limit is not near."""
NEAR: Final = 4.0
"""Times `within` up to which a limit is near: then it is looked at every hour."""
SOON: Final = 600.0
"""Seconds after which a series is looked at again that may reach its limit within the horizon."""
SURPRISED: Final = 300.0
"""Seconds after which a series is looked at again that has risen further than its forecast allowed."""
AT_ONCE: Final = 500
"""Series that a cycle works out at least, if there are so many; 0.1 s."""
_FIRST: Final = 8
"""Times as many in a cycle while most have no forecast yet."""
_CHUNK: Final = 64
"""Series worked out at once: their rules and errors take 12 MiB, and a third less CPU than those of 512."""
_REFINED: Final = 24
"""Hours in which each series is looked at once whether its past can be kept more finely."""
_SIDE: Final = {"above": 1, "below": -1, "both": 0}
_FRESH: Final = 600.0
"""Seconds, and five steps, that a forecast outlives the newest sample."""


class LimitForecast:
    """Follows how near the series of a job come to their limit.

    Parameters
    ----------
    job : JobConfig
        With a `forecast`.
    """

    def __init__(self, job: JobConfig) -> None:
        self._entities = EntityState(
            {
                **hourly_past.COLUMNS,
                "highest": Column(np.nan),
                "side": Column(0, (), np.int8),
                "seen": Column(-np.inf),
                "made": Column(-np.inf),
                "due": Column(-np.inf),
                "bound": Column(np.inf),
                "early": Column(np.nan),
                "expected": Column(np.nan),
                "late": Column(np.nan),
                "reached": Column(np.nan),
            }
        )
        self.hour = -math.inf
        """Whole hours from 1970 to the beginning of that of the newest sample."""
        self.missing: tuple[int, int] | None = None
        """First and last hour of which nothing was seen and the source was not asked."""
        self.ask_again = -math.inf
        """Unix seconds before which the source is not asked for them: at most once an hour."""
        self._limit: float | None = None
        self.reconfigure(job)

    def reconfigure(self, job: JobConfig) -> None:
        """Go on with other settings; what was seen stays, and all is worked out again."""
        assert job.forecast is not None
        if self._limit is not None and self._limit != job.forecast.limit:
            hourly_past.move(self._entities, self._limit - job.forecast.limit)
        self._limit = job.forecast.limit
        self._config, self._step, self.channel = job.forecast, job.step, channel_of(job, job.forecast)
        self.side = _SIDE[job.direction]
        self._begin_again()

    def _begin_again(self) -> None:
        """Work out all again, of what was seen."""
        for name, value in (("due", -np.inf), ("highest", np.nan), ("reached", np.nan), ("side", 0)):
            self._entities[name][:] = value

    def same_values(self, job: JobConfig) -> bool:
        """Tell whether what was seen is of use with other settings: of the same channel, and on the same side."""
        assert job.forecast is not None
        return self.channel == channel_of(job, job.forecast) and self.side == _SIDE[job.direction]

    def fill(self, past: Batch) -> None:
        """Take over what the source has of the hours that are `missing`.

        Parameters
        ----------
        past : Batch, one channel
            The values nearest to the limit of each hour; its times are the ends of hours.
        """
        missing, self.missing = self.missing, None
        if missing is None or not past.keys:
            return
        hours = np.rint(past.times / HOUR).astype(np.int64) - 1
        inside = (hours >= max(missing[0], self.hour - CELLS)) & (hours <= missing[1])
        row_of = {key: row for row, key in enumerate(past.keys)}
        known = [(row, row_of[key]) for row, key in enumerate(self._entities.keys) if key in row_of]
        if not known:
            return
        rows, of = np.array(known, np.intp).T
        at = hours[inside] % CELLS
        for first in range(0, len(rows), _CHUNK):
            some, theirs = rows[first : first + _CHUNK], of[first : first + _CHUNK]
            known_ones = hourly_past.read(self._entities, some)[:, at]
            asked = past.values[theirs, 0][:, inside] - self._config.limit
            hourly_past.put(self._entities, some, at, np.where(np.isnan(known_ones), asked, known_ones))
        self._entities["due"][rows] = -np.inf
        if not self.side:
            self._entities["side"][rows] = 0
        self._since(rows)

    def take(self, keys: tuple[Key, ...], values: Floats, now: float, live: bool) -> Reaches:
        """Take in the values, shape (E,), of `now` (Unix seconds); return what is known of the limit.

        Of the past (`live` is False) nothing is worked out.
        """
        e = self._entities
        e.align(keys)
        hour = math.ceil(now / HOUR) - 1  # its last sample is that of the full hour, as in `fill`
        if hour != self.hour:
            self._turn(hour)
        there = np.isfinite(values)
        if live and (there & (e["seen"] == -np.inf)).any():  # it may have been there before, and be back
            self.missing = (hour - CELLS, hour - 1)
        unknown = e["side"] == 0
        if unknown.any():
            self._take_sides(unknown & there, values)
        e["seen"][there] = now
        highest = e["highest"]
        ahead = e["side"] * (values - self._config.limit)
        np.fmax(highest, ahead, out=highest)
        reached = e["reached"]
        reached[ahead < 0] = np.nan
        reached[(ahead >= 0) & np.isnan(reached)] = now
        if live:
            rows = self._rows(now, ahead)
            for at in range(0, len(rows), _CHUNK):
                self._work_out(rows[at : at + _CHUNK], now, hour)
        return self._known(now)

    def _turn(self, hour: int) -> None:
        """Begin an hour: the highest of the one before is kept, and hours of three weeks ago are forgotten."""
        e = self._entities
        first = hour - CELLS
        if self.hour > -math.inf:
            before = int(self.hour)
            hourly_past.put(e, slice(None), np.array([before % CELLS]), (e["side"] * e["highest"])[:, np.newaxis])
            first = max(before + 1, first)
        hourly_past.forget(e, np.arange(first, hour) % CELLS)
        hourly_past.refine(e, slice(hour % _REFINED, None, _REFINED))
        e["highest"][:] = np.nan
        if first < hour:
            self.missing = (first if self.missing is None else max(self.missing[0], hour - CELLS), hour - 1)
        self.hour = hour

    def _since(self, rows: Rows) -> None:
        """Find in the past since when series are at their limit."""
        e = self._entities
        at = rows[np.isfinite(e["reached"][rows])]
        order = np.arange(self.hour - 1, self.hour - CELLS - 1, -1).astype(np.int64) % CELLS
        past = e["side"][at, np.newaxis] * hourly_past.read(e, at)[:, order] >= 0
        hours = np.where(past.all(axis=1), CELLS, np.argmin(past, axis=1))
        e["reached"][at] = np.where(hours > 0, HOUR * (self.hour - hours), e["reached"][at])

    def _take_sides(self, rows: Flags, values: Floats) -> None:
        """Find out on which side of the limit series are: where most of their past is, or where they are now."""
        side = self._entities["side"]
        if self.side:
            side[rows] = self.side
            return
        at = np.flatnonzero(rows)
        usual = values[at] - self._config.limit
        for first in range(0, len(at), _CHUNK):
            past = hourly_past.read(self._entities, at[first : first + _CHUNK])
            known = np.flatnonzero(np.isfinite(past).any(axis=1))
            if len(known):
                usual[first + known] = np.nanmedian(past[known], axis=1)
        side[at] = np.where(usual < 0, 1, -1)

    def _rows(self, now: float, ahead: Floats) -> Rows:
        """Return which series are worked out now: surprises, then those that are due."""
        e = self._entities
        fresh = np.isfinite(ahead) & (ahead < 0)
        surprised = np.flatnonzero(fresh & (ahead > e["bound"]) & (now - e["made"] >= SURPRISED))
        due = np.flatnonzero(fresh & (e["due"] <= now))
        most = max(AT_ONCE, math.ceil(len(ahead) * self._step / HOUR / 3))
        if len(due) > len(ahead) // 2:
            most *= _FIRST
        return np.unique(np.concatenate([surprised[:most], due[:most]]))

    def cone(self, key: Key, now: float) -> Cone | None:
        """Return how a series goes on from `now` (Unix seconds), None where nothing is known of it.

        May be called from any thread: a cycle that changes the series in the meantime makes it None.
        """
        e, hour = self._entities, self.hour
        keys = e.keys
        if key not in keys or not math.isfinite(hour):
            return None
        rows = np.array([keys.index(key)])
        if e["side"][rows[0]] == 0 or not np.isfinite(e["highest"][rows[0]]):
            return None
        values, scale = self._hours(rows, now, int(hour))
        side = float(e["side"][rows[0]])
        if e.keys is not keys or self.hour != hour or not np.isfinite(scale).all():
            return None
        ahead = [side * scale[0, 0] * each[0].astype(np.float64) + self._config.limit for each in cone(values)]
        early, expected, late = ahead
        if np.isnan(expected).all():
            return None
        past: Floats = side * scale[0, 0] * values[0].astype(np.float64) + self._config.limit
        before: Floats = now + HOUR * np.arange(1.0 - len(past), 1.0)
        after: Floats = now + HOUR * np.arange(float(len(expected)))
        return Cone(self._config.limit, self.channel, before, past, after, early, expected, late)

    def _hours(self, rows: Rows, now: float, hour: int) -> tuple[Values, Floats]:
        """Return the past of some series as `passage` wants it, shape (len(rows), CELLS), and its scale."""
        e = self._entities
        order = np.arange(hour - CELLS, hour) % CELLS
        cells = (e["side"][rows, np.newaxis] * hourly_past.read(e, rows)[:, order]).astype(np.float32)
        part = np.float32(now / HOUR - hour)
        # As of whole hours before now: the values between two hours lie between theirs.
        values = cells.copy()
        values[:, 1:] = cells[:, :-1] + part * (cells[:, 1:] - cells[:, :-1])
        values[:, 0] = np.nan
        values = np.concatenate([values[:, 1:], e["highest"][rows, np.newaxis].astype(np.float32)], axis=1)
        scale = np.nanmax(np.abs(values), axis=1, keepdims=True)
        scale[scale == 0] = 1
        return values / scale, scale

    def _work_out(self, rows: Rows, now: float, hour: int) -> None:
        e, config = self._entities, self._config
        values, scale = self._hours(rows, now, hour)
        found = passage(values)
        e["made"][rows] = now
        e["bound"][rows] = np.where(np.isnan(found.bound), np.inf, found.bound * scale[:, 0])
        for name, hours in (("early", found.early), ("expected", found.expected), ("late", found.late)):
            e[name][rows] = now + HOUR * hours
        soon = ~(found.early * HOUR >= NEAR * config.within)  # also what is not known yet
        due = HOUR * np.where(soon, hour + 1, hour + 1 + (rows + hour) % FAR)
        e["due"][rows] = np.where(found.early * HOUR < config.within, now + SOON, due)

    def _known(self, now: float) -> Reaches:
        e = self._entities
        early, expected, late, reached = (e[name].copy() for name in ("early", "expected", "late", "reached"))
        old = now - e["seen"] > max(_FRESH, 5 * self._step)
        for end in (early, expected, late):
            np.fmax(end, now, out=end, where=np.isfinite(end))
            end[old] = np.nan
        reached[old] = np.nan
        return Reaches.of(self._config.limit, self.channel, (early, expected, late), reached, self._config.within)

    def state(self) -> State:
        """Return what was seen."""
        missing = (-1, -1) if self.missing is None else self.missing
        seen = {"hour": np.array(self.hour), "missing": np.array(missing), "of": np.array([self.channel, self.side])}
        return {**self._entities.state(), **seen, "limit": np.array(self._config.limit)}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; nothing of a version without it. Raises ValueError."""
        if not state or [int(each) for each in state["of"].astype(np.int64)] != [self.channel, self.side]:
            return  # other values were seen
        own = {"hour", "missing", "of", "limit"}
        seen = {name: each for name, each in state.items() if name not in own}
        limit = float(state["limit"].astype(np.float64))
        if hourly_past.OLD in seen:
            seen |= hourly_past.of_values(seen.pop(hourly_past.OLD), limit)
        self._entities.restore(seen)
        if limit != self._config.limit:
            hourly_past.move(self._entities, limit - self._config.limit)
            self._begin_again()
        self.hour = float(state["hour"].astype(np.float64))
        first, last = (int(each) for each in state["missing"].astype(np.int64))
        self.missing = None if first < 0 else (first, last)


def channel_of(job: JobConfig, config: ForecastConfig) -> int:
    """Return which channel of a job a forecast is about."""
    return 0 if config.channel is None else list(job.queries).index(config.channel)
