"""How jobs stand, in words for somebody on call, and what cannot be seen because of it."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from exporter import incident_wording as wording
from exporter.context.endings import ALERTED
from exporter.json_values import utc
from exporter.pipeline.verdict import Verdict
from exporter.web.ui.answers import Unseen
from exporter.web.ui.facts import Discovered, Facts, JobFacts
from exporter.web.ui.status_answers import Job, Query, Trouble

State = Literal["judging", "failing", "warming", "waiting", "late", "empty"]
_LATE: Final = 3.0
"""Steps after which a verdict that nothing has failed for is called late,"""
_LATE_SECONDS: Final = 15.0
"""and the seconds, at least."""
_TOLD: Final = {"down": "ended with their target, which is down", "stopped": "stopped while their target is up"}
_NAMED: Final = 5
"""Jobs named in a sentence."""


def state_of(facts: JobFacts, verdict: Verdict | None, now: float) -> tuple[State, str]:
    """Return the state of a job at `now` (Unix seconds), and a sentence on it."""
    health, config = facts.health, facts.config
    if health.reason:
        since = _since(health.failing_since, now)
        if verdict is None:
            return "failing", f"No verdicts{since}: {health.error}"
        return "failing", f"No new verdicts{since}; what is shown is of {_moment(verdict, now)} UTC: {health.error}"
    if verdict is None:
        return _without_verdict(facts)
    if not verdict.keys:
        never = "no series: is the metric scraped, are its name and labels right?"
        gone = "no series any more: is the target down, was the metric or a label renamed?"
        return "empty", f"Its queries give {never if verdict.states.get('empty') else gone}"
    age = now - verdict.time - config.lag
    if age > max(_LATE * config.step, _LATE_SECONDS):
        return "late", (
            f"The newest verdict is of {_moment(verdict, now)} UTC, {wording.length(age)} ago; a cycle takes too long, "
            "or an old verdict is shown after a restart."
        )
    judges = f"Judges {_series(len(verdict.keys))} every {wording.length(max(config.step, 1.0))}."
    lonely = [] if verdict.without_peers is None else [_sentence(verdict.without_peers.text)]
    return "judging", " ".join([judges, *lonely, *(f"{note}." for note in verdict.calendar.notes)])


def _without_verdict(facts: JobFacts) -> tuple[State, str]:
    health = facts.health
    if health.warming or 0 < health.progress < 1:
        done = f"{health.progress:.0%} of its history replayed"
        if health.remaining is not None:
            done += f", about {wording.length(max(health.remaining, 1.0))} to go"
        if health.first_look:
            return "warming", (
                f"Warming up, {done}. The scores of {_series(health.warming)} on /metrics are those of a first look at "
                "the newest hours; messages and lists of incidents wait for the whole history."
            )
        return "warming", f"Warming up, {done}: {_series(health.warming)} without a verdict until it is done."
    if health.cycles:
        return "waiting", "Its cycles succeed, but there is no verdict yet."
    return "waiting", "Its first cycle is under way: it reads its history from the source."


def job_answer(
    name: str, facts: JobFacts, verdict: Verdict | None, alerts: int, counted_since: float, now: float
) -> Job:
    """Return how a job stands; `alerts` were counted in the last seven days, since `counted_since` at most."""
    health, config = facts.health, facts.config
    state, text = state_of(facts, verdict, now)
    units = facts.units
    trouble = None
    if health.reason:
        trouble = Trouble(health.reason, health.error, _utc(health.failing_since))
    return Job(
        job=name,
        detector=config.detector_name,
        state=state,
        text=text,
        judged=None if verdict is None else utc(verdict.time),
        series=_states(facts, verdict),
        vanished=dict(Counter(({} if verdict is None else verdict.vanished).values())),
        missed=_missed(verdict),
        open=0 if verdict is None else int(verdict.flag.sum()),
        alerting=0 if verdict is None else int(verdict.alert.sum()),
        alerts=alerts,
        counted_since=utc(counted_since),
        budget=config.budget,
        step=config.step,
        progress=health.progress,
        remaining=health.remaining,
        cycles=health.cycles,
        failures=health.failures,
        last_success=_utc(health.last_success),
        cycle_seconds=health.seconds,
        stages=dict(facts.stages),
        trouble=trouble,
        queries=[Query(channel, expr, units.get(channel, "")) for channel, expr in facts.queries.items()],
        model_version=facts.model_version,
        calendar=[] if verdict is None else list(verdict.calendar.notes),
        muted=verdict is not None and not verdict.calendar.alert,
        without_peers="" if verdict is None or verdict.without_peers is None else verdict.without_peers.text,
    )


def unseen(facts: Facts, jobs: Iterable[Job]) -> list[Unseen]:
    """Return what cannot be seen, the worst first; jobs that fail for the same reason are one."""
    found: list[Unseen] = []
    if facts.refused:
        text = f"The configuration on disk is not in force, the one before is: {facts.refused}"
        found.append(Unseen("configuration", [], text))
    found += _declared(facts.discovered)
    jobs = list(jobs)
    failing: dict[str, list[Job]] = {}
    for job in jobs:
        if job.trouble is not None:
            failing.setdefault(job.trouble.text, []).append(job)
    for several in failing.values():
        since = min(job.trouble.since or "" for job in several if job.trouble)
        text = several[0].text if len(several) == 1 else several[0].trouble.text if several[0].trouble else ""
        found.append(Unseen("failing", [job.job for job in several], text, since or None))
    for job in jobs:
        if job.state in {"waiting", "warming", "late", "empty"}:
            progress = job.progress if job.state == "warming" else None
            found.append(Unseen(job.state, [job.job], job.text, progress=progress))
    for job in jobs:
        if job.state in {"judging", "late"} and (warming := job.series.get("warming")):
            text = f"{_series(warming)} too young for a verdict."
            found.append(Unseen("series_warming", [job.job], text))
        if job.state in {"judging", "late"} and job.missed:
            counts = " and ".join(f"{_series(job.vanished[why])} {_TOLD[why]}" for why in _TOLD if why in job.vanished)
            found.append(Unseen("series_vanished", [job.job], f"{counts}: {'; '.join(job.missed)}."))
        if job.state in {"judging", "late"} and (stale := job.series.get("stale", 0) - sum(job.vanished.values())) > 0:
            text = f"{_series(stale)} without a fresh sample: the source has none."
            found.append(Unseen("series_stale", [job.job], text))
    found += [
        Unseen("series_without_peers", [job.job], _sentence(job.without_peers))
        for job in jobs
        if job.state in {"judging", "late"} and job.without_peers
    ]
    muted = "What begins now raises no alert."
    found.extend(Unseen("muted", [job.job], f"{muted} {'. '.join(job.calendar)}.") for job in jobs if job.muted)
    return found


def _declared(discovered: Discovered) -> list[Unseen]:
    """Return what of that which teams declare is not in force, and whether Kubernetes still tells it."""
    found = [Unseen("declared", [], f"{_sentence(discovered.trouble)}.")] if discovered.trouble else []
    for why, since in discovered.lost.items():
        text = f"{why}. The jobs declared until then go on; what teams declare or change is not seen."
        found.append(Unseen("declared", [], text, _utc(since)))
    return found + [Unseen("declared", [], f"Refused: {where}: {why}") for where, why in discovered.refused]


def _missed(verdict: Verdict | None) -> list[str]:
    """Return the labels of the first few series that are down or have stopped."""
    if verdict is None:
        return []
    found = sorted(key for key, reason in verdict.vanished.items() if reason in ALERTED)
    more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return [", ".join(f"{name}={value}" for name, value in key) or "its only series" for key in found[:_NAMED]] + more


def named(jobs: list[str]) -> str:
    """Write the names of jobs, the first few of many."""
    more = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    return ", ".join(jobs[:_NAMED]) + more


def _states(facts: JobFacts, verdict: Verdict | None) -> dict[str, int]:
    if verdict is not None:
        return {state: int(count) for state, count in verdict.states.items()}
    return {"warming": facts.health.warming} if facts.health.warming else {}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _series(count: int) -> str:
    return "1 series" if count == 1 else f"{count:,} series"


def _since(start: float | None, now: float) -> str:
    if start is None:
        return ""
    return f" since {wording.moment(start, wording.is_dated(start, now))} UTC ({wording.length(max(now - start, 0.0))})"


def _moment(verdict: Verdict, now: float) -> str:
    return wording.moment(verdict.time, wording.is_dated(verdict.time, now))


def _utc(seconds: float | None) -> str | None:
    return utc(math.nan if seconds is None else seconds)
