"""How far back a new job reads what the source has: as far as it helps, within the source's limits and our share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Floats
from detectors.units import DAY, HOUR
from exporter.config.sections.job import JobConfig
from exporter.pipeline.job_settings import JobSettings
from exporter.promql import format_duration
from exporter.source.errors import AccessDenied, QueryRejected, SourceError, Throttled, Unreachable
from exporter.source.samples import Source

LONGEST: Final = 14 * DAY
"""Two weeks: a weekly pattern has been seen twice."""
SHORTER: Final = (LONGEST, 7 * DAY, 3 * DAY, DAY, 6 * HOUR)
"""Ranges tried one after the other where the source refuses to look back further."""
COARSE: Final = HOUR
"""Seconds between two looks at how many series there were."""
WARM_UP: Final = 60_000_000
"""What the warm-ups of all jobs together may cost, in samples judged: about ten minutes of one core."""
MOST_SAMPLES: Final = 20_160
"""Samples of a series looked back on, two weeks of minutes: more of a finer step makes a start long for little."""
_COLUMN: Final = 200
"""What judging one time costs besides its samples, in samples: 1.6 ms, and 8 µs for each series read and judged."""
_SLOWER: Final = {"river": 50.0}
"""Times the 8 µs that a detector takes for each series, where it is many: 0.4 ms for river's trees."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a history reaches.

    Parameters
    ----------
    seconds : float
        Its length, a whole number of steps.
    limit : str
        Why it is not longer: `asked` (the configuration says so), `longest`, `source` (there is nothing older),
        `refused` (by the source) or `budget` (the warm-up would take too long).
    hint : str
        The same in words, with what to do.
    """

    seconds: float
    limit: str
    hint: str


def reach_of(settings: JobSettings, source: Source, queries: Mapping[str, str], samples: int, until: float) -> Reach:
    """Return how far the history of a job reaches, at least so many samples; as `find_reach`, if nothing else is asked.

    Raises SourceError.
    """
    asked, step = settings.config.history, settings.config.step
    window = samples * step
    if asked == "auto":
        slower = _SLOWER.get(settings.config.detector_name, 1.0)
        return find_reach(source, queries, step, window, np.floor(until / step) * step, settings.jobs, slower)
    return Reach(max(asked or 0.0, window), "asked", "the configuration says so")


def longest_reach(config: JobConfig) -> float:
    """Return the most seconds that the history of a job can be long, without asking the source."""
    return LONGEST if config.history == "auto" else config.history or 0.0


def find_reach(
    source: Source,
    queries: Mapping[str, str],
    step: float,
    window: float,
    until: float,
    jobs: int = 1,
    slower: float = 1.0,
) -> Reach:
    """Ask the source how many series there were every hour of the last two weeks; return how far to read.

    That is one cheap query for each channel. Raises SourceError where the source cannot be asked at all.

    Parameters
    ----------
    source : Source
    queries : mapping of str to str
        PromQL by channel.
    step : float
        Seconds between samples.
    window : float
        Seconds that are read in any case.
    until : float
        Unix seconds of the newest sample.
    jobs : int
        Jobs that share `WARM_UP`.
    slower : float
        Times that a series costs more than with the default detector.
    """
    coarse = max(step, np.ceil(COARSE / step) * step)
    refusal: SourceError | None = None
    series: Floats | None = None
    for span in SHORTER:
        try:
            series = sum((_series(source, query, coarse, span, until) for query in queries.values()), np.zeros(1))
            break
        except (Unreachable, AccessDenied, Throttled):
            raise
        except SourceError as error:
            refusal = error
    if series is None:
        assert refusal is not None
        if not isinstance(refusal, QueryRejected):
            raise refusal
        return Reach(window, "refused", f"the source does not say how far back it has data: {refusal}")

    there = np.flatnonzero(series)
    looks = int(there[-1]) + 1 if len(there) else 0  # times at which there was something, and all after them
    cost = np.cumsum((slower * series[:looks] + _COLUMN) * coarse / step)
    afford = min(int(np.searchsorted(cost, WARM_UP / jobs, side="right")), max(int(MOST_SAMPLES * step / coarse), 1))
    if afford < looks:
        seconds, limit = afford * coarse, "budget"
        if not afford:
            seconds = np.floor(WARM_UP / jobs / (slower * series[0] + _COLUMN)) * step
        hint = f"more would make the first start take long; history: {format_duration(LONGEST)} reads all of it"
    elif looks * coarse < span:
        seconds, limit, hint = looks * coarse, "source", "the source has no older data"
    elif refusal is not None:
        seconds, limit, hint = span, "refused", f"the source refuses a longer range: {refusal}"
    else:
        seconds, limit, hint = LONGEST, "longest", "more is not asked for by itself; history sets another length"
    return Reach(max(float(seconds), window), limit, hint)


def _series(source: Source, query: str, coarse: float, span: float, until: float) -> Floats:
    """Return how many series the query had every `coarse` seconds, the newest first."""
    looks = max(int(span // coarse), 1)
    start = until - (looks - 1) * coarse
    try:
        answer = source.range(f"count(\n{query}\n)", start, until, coarse)
        values = answer.values
    except QueryRejected as error:
        if "scalar" not in str(error):  # the one thing that cannot be counted: it is one series
            raise
        answer = source.range(query, start, until, coarse)
        values = np.ones(len(answer.times))
    series = np.zeros(looks)
    at = np.rint((until - answer.times) / coarse).astype(np.int64)
    inside = (at >= 0) & (at < looks)
    series[at[inside]] = np.nan_to_num(values[inside])
    return series
