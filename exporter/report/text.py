"""The digest: what fits into a mail or a chat message."""

from detectors.types import Key
from exporter.report.data import JUDGED, Incident, JobFacts, Report
from exporter.report.format import counted, lasting, percent, stamp

_LISTED = 5
_LONGEST = 160


def digest(report: Report) -> str:
    """Return the report in a few lines of plain text."""
    period = report.period
    lines = [f"Anomalies in the {period.name} to {stamp(period.end)}: {headline(report)}"]
    lines += [f"! {_plain(note)}" for note in report.notes]
    busy = sorted(report.jobs, key=lambda job: (-(job.alerts or 0), -len(job.incidents), job.name))
    shown = [job for job in busy if job.incidents or job.alerts or job.share(JUDGED) < 1][: 2 * _LISTED]
    lines += [f"- {job.name}: {of_job(job, period.weeks)}" for job in shown]
    if len(busy) > len(shown):
        lines.append(f"- {len(busy) - len(shown)} of {len(busy)} jobs are not listed")
    if report.incidents:
        lines.append("Longest incidents:")
        lines += [
            f"- {_plain(incident.job)}: {entity(incident.key)}: {when(incident)}"
            for incident in report.incidents[:_LISTED]
        ]
    return "\n".join(lines) + "\n"


def headline(report: Report) -> str:
    """Return the period in one sentence."""
    alerts = [job.alerts for job in report.jobs if job.alerts is not None]
    budget = sum(job.budget for job in report.jobs) * report.period.weeks
    judged = sum(job.share(JUDGED) for job in report.jobs) / len(report.jobs)
    entities = len({(incident.job, incident.key) for incident in report.incidents})
    told = f"{counted(sum(alerts), 'alert')} (budget {budget:.3g})" if alerts else "alerts unknown"
    at = f" at {counted(entities, 'entity', 'entities')}" if entities else ""
    return f"{told}, {counted(len(report.incidents), 'incident')}{at}; judged {percent(judged)} of the time."


def of_job(job: JobFacts, weeks: float) -> str:
    """Return a job in one line."""
    if job.lost:
        return "nothing is known"
    alerts = "alerts unknown" if job.alerts is None else f"{counted(job.alerts, 'alert')} of {job.budget * weeks:.3g}"
    parts = [alerts, counted(len(job.incidents), "incident"), f"judged {percent(job.share(JUDGED))} of the time"]
    return ", ".join(parts + [what for _, what in job.events[-2:]])


def when(incident: Incident) -> str:
    """Return how long an incident was and from when to when, with what is not certain about it."""
    begin = "since before" if incident.since_before else "from"
    text = f"{lasting(incident.seconds)}, {begin} {stamp(incident.start)}"
    text += ", still open" if incident.still_open else f" to {stamp(incident.end)}"
    doubts = []
    if incident.across_gap:
        doubts.append("across a gap in what is known")
    if incident.source == "audit":
        doubts.append("known from the audit file only")
    return text + (f" ({'; '.join(doubts)})" if doubts else "")


def entity(key: Key) -> str:
    """Return an entity's labels on one line, not longer than a message bears."""
    return _plain(", ".join(f"{name}={value}" for name, value in key) or "the only series")


def _plain(text: str) -> str:
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= 2 * _LONGEST else text[: 2 * _LONGEST - 1] + "…"
