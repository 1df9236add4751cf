"""How an answer to an incident is told."""

from datetime import datetime
from typing import Final

from exporter import incident_wording as wording
from exporter.json_values import utc
from exporter.pipeline.expectation import BEGINS_WITHIN, Expectation, zone_of
from exporter.promql import format_duration
from exporter.query_units import Unit
from exporter.sinks.feedback import Feedback
from exporter.web.ui.facts import Facts
from exporter.web.ui.feedback_answers import Answer, Size
from exporter.web.ui.identity import link

_DAYS: Final = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def answer_of(feedback: Feedback, facts: Facts, now: float) -> Answer:
    """Return what the API says of an answer at `now` (Unix seconds)."""
    expected, silence, undone = feedback.expectation, feedback.silence, feedback.undone
    ends = [each.until for each in (expected, silence) if each is not None and each.until is not None]
    return Answer(
        feedback.id, feedback.kind, feedback.job, feedback.labels, utc(feedback.since),
        None if feedback.over is None else utc(feedback.over), utc(feedback.at), feedback.who, feedback.why,
        feedback.stands(now),
        when=None if expected is None else expected.when,
        limits=[] if expected is None else [Size(each.channel, each.low, each.high) for each in expected.limits],
        longest=None if expected is None else expected.longest,
        until=utc(ends[0]) if ends else None,
        silence=None if silence is None else silence.id,
        undone=None if undone is None else utc(undone.at),
        undone_by=None if undone is None else undone.who,
        told=told(feedback, facts),
        link=link(feedback.job, feedback.key, feedback.since),
    )  # fmt: skip


KINDS: Final = {
    "expected": "expected", "normal": "new normal", "silence": "silenced", "incident": "a real incident",
}  # fmt: skip


def told(feedback: Feedback, facts: Facts) -> str:
    """Write what an answer says, after its kind."""
    job = facts.jobs.get(feedback.job)
    if feedback.expectation is not None:
        return _expected(feedback.expectation, {} if job is None else job.units)
    if feedback.silence is not None:
        return f"no message about it until {wording.moment(feedback.silence.until, dated=True)} UTC"
    return "its level is learnt" if feedback.kind == "normal" else "a label for train and backtest"


def day_of(since: float, zone: str) -> dict[str, str]:
    """Return the day of the week and the time at which an incident began in a time zone, for texts."""
    begun = datetime.fromtimestamp(since, zone_of(zone))
    return {"day": _DAYS[begun.weekday()], "time": f"{begun:%H:%M} {zone}", "within": format_duration(BEGINS_WITHIN)}


def _expected(expected: Expectation, units: dict[str, Unit]) -> str:
    begun = day_of(expected.since, expected.zone)
    around = f"around {begun['time']} (within {begun['within']})"
    parts = [
        {
            "once": "this once",
            "weekly": f"on {begun['day']} {around}",
            "daily": f"every day {around}",
            "always": "always",
        }[expected.when]
    ]
    parts += [_limit(expected, units)] if expected.limits else []
    if expected.longest is not None:
        parts.append(f"for {format_duration(expected.longest)} at most")
    if expected.until is not None:
        parts.append(f"until {wording.moment(expected.until, dated=True)} UTC")
    return ", ".join(parts)


def _limit(expected: Expectation, units: dict[str, Unit]) -> str:
    several = len(units) > 1
    found = []
    for each in expected.limits:
        unit = units.get(each.channel, "")
        text = f"down to {wording.number(each.low, unit)}" if each.low is not None else ""
        text = text or f"up to {wording.number(each.high or 0.0, unit)}"
        found.append(f"{each.channel} {text}" if several else text)
    return " and ".join(found)
