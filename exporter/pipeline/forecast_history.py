"""The past of the series of a job by the hour, which their forecast needs and their window does not reach."""

from typing import Final

import structlog

from detectors.units import HOUR
from exporter.context.passage import CELLS
from exporter.pipeline.job import Job
from exporter.pipeline.window import Window
from exporter.promql import format_duration
from exporter.redact import masked
from exporter.source.chunks import fetch
from exporter.source.errors import SourceError

log = structlog.get_logger()

_EVERY: Final = 300.0
"""Seconds between two values that are looked at in an hour."""
_OVER: Final = {1: "max_over_time", -1: "min_over_time", 0: "last_over_time"}


def question(expr: str, side: int, step: float) -> str:
    """Return PromQL for the value of each hour that is nearest to a limit above (1) or below (-1)."""
    return f"{_OVER[side]}((\n{expr}\n)[1h:{format_duration(min(max(step, _EVERY), HOUR))}])"


def read_past(job: Job, now: float) -> None:
    """Ask the source for the hours that the forecast of a job lacks at `now` (Unix seconds). Never raises SourceError.

    That is a few queries at a start, after an outage, and when series come. Nothing is asked for twice in an hour.
    """
    forecast, config = job.learnt.forecast, job.config
    if forecast is None or forecast.missing is None or job.warming or now < forecast.ask_again:
        return
    first, last = forecast.missing
    channel = list(config.queries)[forecast.channel]
    window = Window((channel,), HOUR, CELLS, config.entity, job.settings.owns)
    forecast.ask_again = now + HOUR
    try:
        asked = {channel: question(job.reader.queries[channel], forecast.side, config.step)}
        series = len(job.window.keys)
        for chunk in fetch(
            job.source, asked, HOUR, (first + 1) * HOUR, (last + 1) * HOUR, max_series=config.max_series, series=series
        ):
            job.metrics.forecast_asked(True)
            for _ in window.append(chunk):
                pass
    except SourceError as error:
        job.metrics.forecast_asked(False)
        hint = "forecasts are made of what the job itself has seen; it is asked for again in an hour"
        log.warning("forecast_past_not_answered", job=job.name, error=masked(str(error)), hint=hint)
        return
    forecast.fill(window.newest())
