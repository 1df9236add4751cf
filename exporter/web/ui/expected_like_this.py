"""Which incidents are expected when somebody answers that one was: those like it, and somewhat larger ones."""

from typing import Final

from detectors.units import HOUR
from exporter.pipeline.expectation import Expectation, Limit
from exporter.sinks.notify.notification import Incident
from exporter.web.ui.feedback_answers import NewAnswer

_LEAST_LONGEST: Final = HOUR


def like_this(
    new: NewAnswer, incident: Incident, now: float, until: float | None, at: float, zone: str = "UTC"
) -> Expectation:
    """Return what an answer at `now` makes expected from `at` to `until`: what is like `incident`, somewhat larger too.

    All times are Unix seconds; hours of the day and week are counted in `zone`.
    """
    share = new.margin / 100.0
    limits = []
    for channel in incident.channels:
        value, center = channel.observed, channel.expected
        if value is None:
            continue
        if channel.upper is not None and value > channel.upper:
            limits.append(Limit(channel.name, high=value + share * (value - _or(center, channel.upper))))
        elif channel.lower is not None and value < channel.lower:
            limits.append(Limit(channel.name, low=value - share * (_or(center, channel.lower) - value)))
    within = not limits and incident.score is not None
    lasted = (now if incident.over is None else incident.over) - incident.since
    longest = new.longest if new.longest is not None else max(2 * lasted, _LEAST_LONGEST)
    return Expectation(
        incident.since, incident.over, at, new.when, limits,
        score=(incident.score or 0.0) * (1 + share) if within else None,
        longest=None if new.when == "once" else longest,
        until=until,
        zone=zone,
    )  # fmt: skip


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
