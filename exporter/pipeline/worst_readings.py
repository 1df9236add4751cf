"""The worst reading of every incident: what a text tells of it, also when the newest samples are normal again."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState, decode_text, encode_text, position
from detectors.streams import OF_PEERS, STREAMS, positions_of, strongest
from detectors.types import Flags, Floats, Key, State, Streams
from exporter import incident_wording as wording
from exporter.config.sections.job import JobConfig
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.query_units import quantity_of

SHOWN_AFTER: Final = 300.0
"""Seconds for which an incident that has ended is shown, so that a scrape surely sees its end."""
Ending = Literal["recovered", "adopted", "accepted", "no data", "expected"]
ENDINGS: Final[tuple[Ending, ...]] = ("recovered", "adopted", "accepted", "no data", "expected")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What was judged: the newest sample of every entity, arrays of shape (E, C)."""

    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    contribution: Floats


_FIGURES: Final = ("value", "expected", "lower", "upper", "contribution")
_STREAMS: Final = ("size", "period", "channel", "by_hour", *OF_PEERS)
_NAMES: Final = "stream_names"


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """The K incidents that are open or have just ended, each with its worst reading.

    Parameters
    ----------
    rows : shape (K,)
        Rows of the entities in the verdict, ascending.
    start, end : Floats, shape (K,)
        Unix seconds; `end` is NaN while the incident is open.
    at, score : Floats, shape (K,)
        When the reading was, and how unusual; NaN where no sample above 1 is known, as after an update from a version
        that kept none.
    ending : shape (K,)
        How it ended, an index of ENDINGS; of no meaning while it is open.
    value, expected, lower, upper, contribution : Floats, shape (K, C)
        NaN in channels that were normal, and where there is no such number.
    streams : Streams or None
        What the score of each reading was made of, in the same rows; None: not known.
    """

    rows: NDArray[np.intp]
    start: Floats
    end: Floats
    at: Floats
    score: Floats
    ending: NDArray[np.int8]
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    contribution: Floats
    streams: Streams | None = None

    @property
    def strongest(self) -> Floats:
        """Index of the strongest stream, shape (K,); NaN where there is none."""
        if self.streams is None:
            return np.full(len(self.rows), np.nan)
        size, period = self.streams.size, self.streams.period
        unknown = (np.isnan(size) & np.isnan(period)).all(axis=1)
        return np.where(unknown, np.nan, strongest(size, period))

    @property
    def strongest_size(self) -> Floats:
        """Its size in standard deviations, shape (K,)."""
        return self._of_strongest("size")

    @property
    def strongest_period(self) -> Floats:
        """Its return period in seconds, shape (K,); NaN for what never comes by chance too."""
        period = self._of_strongest("period")
        return np.where(np.isfinite(period), period, np.nan)

    @property
    def others(self) -> Floats:
        """How many peers it was compared with, shape (K,)."""
        return self._of_peers("others")

    @property
    def theirs(self) -> Floats:
        """Their median, shape (K,)."""
        return self._of_peers("theirs")

    @property
    def times(self) -> Floats:
        """How many times that median the value was, to two digits, shape (K,); NaN where there is no ratio."""
        return self._ratio("own")

    @property
    def usual_times(self) -> Floats:
        """How many times that median is usual, to two digits, shape (K,)."""
        return self._ratio("usual")

    def _ratio(self, name: str) -> Floats:
        own, theirs, usual = (self._of_peers(each) for each in ("own", "theirs", "usual"))
        found, place = np.full(len(self.rows), np.nan), ("own", "usual").index(name)
        for at in np.flatnonzero(np.isfinite(theirs)).tolist():  # most jobs compare nobody
            ratio = wording.ratios(float(own[at]), float(theirs[at]), float(usual[at]))
            if ratio is not None:
                found[at] = ratio[place]
        return found

    def _of_peers(self, name: str) -> Floats:
        if self.streams is None:
            return np.full(len(self.rows), np.nan)
        found: Floats = getattr(self.streams, name)
        return found

    def _of_strongest(self, name: str) -> Floats:
        if self.streams is None:
            return np.full(len(self.rows), np.nan)
        at = strongest(self.streams.size, self.streams.period)
        found: Floats = getattr(self.streams, name)[np.arange(len(at)), at]
        return found

    def of(self, row: int) -> int | None:
        """Return the position of an entity's incident, None where there is none."""
        return position(self.rows, row)


def beyond(value: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return how far values lie outside their band, negative within, -inf where it is not known."""
    with np.errstate(invalid="ignore"):
        found: Floats = np.fmax(np.nan_to_num(lower - value, nan=-np.inf), np.nan_to_num(value - upper, nan=-np.inf))
    return found


def no_readings(channels: int = 1) -> Readings:
    """Return the readings of no incident."""
    return WorstReadings(channels).current()


class WorstReadings:
    """Keeps the worst reading of every open incident, and of those that ended within SHOWN_AFTER seconds.

    The worst is the one with the highest score; one outside its band is worse than one within, whose score comes from
    several samples together. Only samples with a score above 1 are readings: what closes an incident is no part of it.

    Parameters
    ----------
    channels : int
    least : Floats, shape (C,), optional
        What the limits of a channel are not below, as long as its values are not either.
    peers : tuple of str
        The labels whose values make entities peers.
    """

    def __init__(self, channels: int, least: Floats | None = None, peers: tuple[str, ...] = ()) -> None:
        self._peers = peers
        self._least = np.full(channels, -np.inf) if least is None else least
        self._columns = {
            "start": Column(np.nan),
            "end": Column(np.nan),
            "at": Column(np.nan),
            "score": Column(np.nan),
            "outside": Column(False, (), np.bool_),
            "excess": Column(-np.inf),
            "ending": Column(0, (), np.int8),
            **{name: Column(np.nan, (channels,)) for name in _FIGURES},
            "stream_size": Column(np.nan, (len(STREAMS),), np.float32, added=True),
            "stream_period": Column(np.nan, (len(STREAMS),), np.float32, added=True),
            "stream_channel": Column(-1, (len(STREAMS),), np.int16, added=True),
            "stream_by_hour": Column(False, (), np.bool_, added=True),
            **{f"stream_{name}": Column(np.nan, (), np.float64, added=True) for name in OF_PEERS},
        }
        self._names: tuple[str, ...] = STREAMS
        self._roster = EntityState(self._columns)

    @classmethod
    def of(cls, job: JobConfig) -> "WorstReadings":
        """Return those of a configured job."""
        never_negative = [quantity_of(expr, job.rate).never_negative for expr in job.queries.values()]
        return cls(len(job.queries), np.where(never_negative, 0.0, -np.inf), job.peers or ())

    def state(self) -> State:
        """Return the readings."""
        return {**self._roster.state(), _NAMES: encode_text("\n".join(self._names))}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; nothing of a version that kept none. Raises ValueError.

        Streams of a version that knew others are forgotten.
        """
        if not state:
            return
        names = tuple(decode_text(state[_NAMES]).split("\n")) if _NAMES in state else ()
        if len(names) == len(STREAMS):
            self._names = names
        else:
            state = {name: array for name, array in state.items() if not name.startswith("stream_")}
        self._roster.restore(state)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The entities, in the order in which `Readings.rows` counts them."""
        return self._roster.keys

    def take(
        self,
        keys: tuple[Key, ...],
        now: float,
        score: Floats,
        sample: Sample,
        update: IncidentUpdate,
        accepted: Flags | None,
        streams: Streams | None = None,
    ) -> Readings:
        """Take in the sample at `now` (Unix seconds) and what was decided on it; return all there is to show.

        `score` and `accepted` have shape (E,); `streams` is what the scores are made of.
        """
        r = self._roster
        r.align(keys)
        rows = np.flatnonzero(update.flag | ~np.isnan(r["start"]))
        if len(rows):
            flag = update.flag[rows]
            self._begin(rows[flag & (r["start"][rows] != update.since[rows])], update.since)
            self._end(rows[~flag & np.isnan(r["end"][rows])], now, score, update.adopted, accepted)
            self._forget(rows[~flag & (now - r["end"][rows] >= SHOWN_AFTER)])
            with np.errstate(invalid="ignore"):
                self._compare(rows[flag & (score[rows] > 1)], now, score, sample, streams)
        return self.current()

    def current(self) -> Readings:
        """Return all there is to show."""
        rows = np.flatnonzero(~np.isnan(self._roster["start"]))
        names = ("start", "end", "at", "score", "ending", *_FIGURES)
        size, period = (self._roster[f"stream_{name}"][rows].astype(np.float64) for name in ("size", "period"))
        channel, by_hour = (self._roster[f"stream_{name}"][rows] for name in ("channel", "by_hour"))
        beside = {name: self._roster[f"stream_{name}"][rows] for name in OF_PEERS}
        streams = Streams(self._names, rows, size, period, channel, by_hour, peers=self._peers, **beside)
        return Readings(rows, **{name: self._roster[name][rows] for name in names}, streams=streams)

    def _begin(self, rows: NDArray[np.intp], since: Floats) -> None:
        self._forget(rows)
        self._roster["start"][rows] = since[rows]

    def _end(self, rows: NDArray[np.intp], now: float, score: Floats, adopted: Flags, accepted: Flags | None) -> None:
        r = self._roster
        r["end"][rows] = now
        taken = np.zeros(len(rows), np.bool_) if accepted is None else accepted[rows]
        why = [taken, adopted[rows], np.isnan(score[rows])]
        codes = [ENDINGS.index(ending) for ending in ("accepted", "adopted", "no data")]
        r["ending"][rows] = np.select(why, codes, ENDINGS.index("recovered"))

    def _forget(self, rows: NDArray[np.intp]) -> None:
        for name, column in self._columns.items():
            self._roster[name][rows] = column.fill

    def _compare(
        self, rows: NDArray[np.intp], now: float, score: Floats, sample: Sample, streams: Streams | None
    ) -> None:
        """Keep the sample of those rows of whose incident it is the worst so far."""
        if not len(rows):
            return
        r = self._roster
        figures = {name: getattr(sample, name)[rows] for name in _FIGURES}
        away = beyond(figures["value"], figures["lower"], figures["upper"])
        outside, excess, new = np.asarray((away > 0).any(axis=1)), away.max(axis=1), score[rows]
        known, before = r["score"][rows], r["outside"][rows]
        worse = np.isnan(known) | (outside & ~before)
        worse |= (outside == before) & ((new > known) | ((new == known) & (excess > r["excess"][rows])))
        if not worse.any():
            return
        at = rows[worse]
        r["at"][at], r["score"][at], r["outside"][at], r["excess"][at] = now, new[worse], outside[worse], excess[worse]
        shown = self._shown(away[worse], figures["contribution"][worse], figures["value"][worse])
        for name, values in self._limited({name: each[worse] for name, each in figures.items()}).items():
            r[name][at] = np.where(shown, values, np.nan)
        self._keep(at, streams)

    def _keep(self, rows: NDArray[np.intp], streams: Streams | None) -> None:
        """Keep the streams of some rows; where there are none, those of an earlier reading go all the same."""
        for name in _STREAMS:
            column = f"stream_{name}"
            self._roster[column][rows] = self._columns[column].fill
        if streams is not None:
            self._names = streams.names
            place = positions_of(streams, rows)
            there = place >= 0
            for name in _STREAMS:
                self._roster[f"stream_{name}"][rows[there]] = getattr(streams, name)[place[there]]

    def _shown(self, beyond: Floats, contribution: Floats, values: Floats) -> Flags:
        """Return which channels a text names: those outside, else the one that contributes most, else all."""
        outside = beyond > 0
        most = contribution >= np.fmax.reduce(contribution, axis=1, keepdims=True)
        inside = np.where(most.any(axis=1, keepdims=True), most, ~np.isnan(values))
        return np.asarray(np.where(outside.any(axis=1, keepdims=True), outside, inside))

    def _limited(self, figures: dict[str, Floats]) -> dict[str, Floats]:
        """Return the figures without limits that are none: infinite ones, or below what the values can be."""
        value, expected = figures["value"], figures["expected"]
        least = np.where((value < self._least) | (expected < self._least), -np.inf, self._least)
        lower, upper = (np.where(np.isfinite(figures[name]), figures[name], np.nan) for name in ("lower", "upper"))
        return {**figures, "lower": np.maximum(lower, least), "upper": np.maximum(upper, least)}
