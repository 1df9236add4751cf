"""Giving an answer to an incident, and taking it back: what is refused, and what follows from it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
import structlog

from detectors.types import Key
from detectors.units import DAY, HOUR
from exporter import incident_wording as wording
from exporter.config.values import duration, moment
from exporter.promql import format_duration
from exporter.sinks import silences
from exporter.sinks.alertmanager_alerts import labels_of
from exporter.sinks.feedback import Feedback, Silenced, Undone
from exporter.sinks.feedback_book import NotKept
from exporter.sinks.incident_log import Logged
from exporter.web.ui.expected_like_this import like_this
from exporter.web.ui.facts import Facts, Running
from exporter.web.ui.feedback_answers import Given, NewAnswer
from exporter.web.ui.feedback_wording import KINDS, answer_of, told
from exporter.web.ui.identity import series_id
from exporter.web.ui.not_answered import NotAnswered

log = structlog.get_logger()

LONGEST_REASON: Final = 2000
_LONGEST_NAME: Final = 200
MOST_MARGIN: Final = 400.0
_SILENCE: Final = 4 * HOUR
"""Seconds of a silence, where nothing is said."""
_LONGEST_SILENCE: Final = 90 * DAY
_OPINIONS: Final = frozenset({"expected", "normal", "incident"})
"""Answers of which an incident has one: they contradict each other."""
NOBODY: Final = "somebody without a login"


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer that is wanted, and the incident that it is about. Times are Unix seconds."""

    new: NewAnswer
    logged: Logged
    who: str
    until: float | None
    now: float

    @property
    def key(self) -> Key:
        """The identity of the series."""
        return self.logged.incident.key


def give(running: Running, new: NewAnswer, login: str, now: float) -> Given:
    """Give an answer at `now` (Unix seconds); `login` is who is logged in, "" where nobody is. Raises NotAnswered."""
    asked = _checked(running, new, login, now)
    facts = running.facts()
    _refuse_pointless(facts, asked)
    _refuse_second(facts, running.feedback.every(), asked)  # before Alertmanager is asked
    silence = _silence(facts, asked) if new.kind == "silence" else None
    try:
        made = running.feedback.change(partial(_made, facts, asked, silence))
    except (NotKept, NotAnswered) as error:
        if silence is not None:
            _end_silence(facts, silence)
        raise error if isinstance(error, NotAnswered) else NotAnswered(503, f"{error}.") from None
    log.warning("incident_answered", answer=made.id, kind=made.kind, job=made.job, labels=made.labels, who=made.who)
    return Given(answer_of(made, facts, now), _note(made, facts))


def take_back(running: Running, answer: str, login: str, now: float) -> Given:
    """Take an answer back. Raises NotAnswered."""
    facts = running.facts()

    def made(every: Sequence[Feedback], at: float) -> Feedback:
        known = next((each for each in every if each.id == answer), None)
        if known is None:
            raise NotAnswered(404, "There is no such answer; the list of answers has those that there are.")
        if known.undone is not None:
            when = wording.moment(known.undone.at, dated=True)
            raise NotAnswered(409, f"{known.undone.who} took this answer back already, {when} UTC.")
        if known.kind == "normal":
            raise NotAnswered(
                409, "An accepted level cannot be taken back: it has been learnt. If it was a mistake, the job learns "
                "the old level again as it comes back; answers of the other kinds can be taken back."
            )  # fmt: skip
        if known.kind == "silence" and known.silence is not None and known.silence.until > now:
            _end_silence(facts, known.silence)
        return msgspec.structs.replace(known, undone=Undone(at, login or NOBODY))

    try:
        undone = running.feedback.change(made)
    except NotKept as error:
        raise NotAnswered(503, f"{error}.") from None
    except silences.NotSilenced as error:
        raise NotAnswered(502, f"The silence goes on: {error}.") from None
    log.warning("answer_taken_back", answer=undone.id, kind=undone.kind, job=undone.job, who=login or NOBODY)
    note = "The verdicts from the next sample on are those there would have been without it."
    return Given(answer_of(undone, facts, now), note if undone.kind == "expected" else "It holds no more.")


def _checked(running: Running, new: NewAnswer, login: str, now: float) -> Asked:
    """Return what is asked for, with the incident that it is about. Raises NotAnswered."""
    why, who = new.why.strip(), login or (new.who or "").strip() or NOBODY
    if not why:
        raise NotAnswered(400, "Say why: those who read the answer later, you among them, will want to know.")
    if len(why) > LONGEST_REASON:
        raise NotAnswered(
            400, f"The reason has {len(why):,} characters, and {LONGEST_REASON:,} at most are kept: write the gist and "
            "a link."
        )  # fmt: skip
    if len(who) > _LONGEST_NAME:
        raise NotAnswered(400, f"The name has more than {_LONGEST_NAME} characters.")
    if not 0 <= new.margin <= MOST_MARGIN:
        raise NotAnswered(400, f"The margin must be from 0 to {MOST_MARGIN:g} percent.")
    if new.longest is not None and not 60 <= new.longest <= 30 * DAY:
        raise NotAnswered(400, "The longest duration must be from one minute to 30 days.")
    until = _until(new.until, now)
    return Asked(msgspec.structs.replace(new, why=why), _incident(running, new), who, until, now)


def _until(text: str | float | None, now: float) -> float | None:
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    try:
        until = now + duration(text) if isinstance(text, str) and _is_duration(text) else moment(str(text))
    except (ValueError, OverflowError):
        raise NotAnswered(
            400, "The end must be a duration such as 30d, or a time such as 2026-12-24T18:00 (UTC)."
        ) from None
    if until <= now:
        raise NotAnswered(
            400, f"The end, {wording.moment(until, dated=True)} UTC, is over already: choose a later one."
        )
    return until


def _is_duration(text: str) -> bool:
    return text.strip()[-1:].isalpha() and text.strip()[-1:] != "Z"


def _incident(running: Running, new: NewAnswer) -> Logged:
    """Return the incident that is meant: the newest of the series, or the one that began then. Raises NotAnswered."""
    every = [each for each in running.incidents.every() if each.incident.job == new.job]
    if new.id is not None:
        every = [each for each in every if series_id(new.job, each.incident.key) == new.id]
    elif new.labels is not None:
        every = [each for each in every if each.incident.labels == new.labels]
    else:
        raise NotAnswered(400, "Name the series: by its labels, or by its digest (id).")
    if new.since is not None:
        every = [each for each in every if abs(each.incident.since - new.since) < 1.0]
    if not every:
        if new.job not in running.facts().jobs:
            raise NotAnswered(404, "There is no job of that name; Status lists those there are.")
        raise NotAnswered(
            404, "No such incident is remembered: it was never there, or it is older than what is kept. Past incidents "
            "lists those that are."
        )  # fmt: skip
    return max(every, key=lambda each: (each.incident.over is None, each.incident.since))


def _refuse_pointless(facts: Facts, asked: Asked) -> None:
    """Refuse what cannot have an effect. Raises NotAnswered."""
    incident, kind = asked.logged.incident, asked.new.kind
    if kind == "incident":
        return
    if incident.job not in facts.jobs:
        raise NotAnswered(
            409, "Its job has left the configuration: only that it was a real incident can still be answered."
        )
    if kind in {"normal", "silence"} and incident.over is not None:
        what = "there is no level to accept" if kind == "normal" else "there is no alert to silence"
        ended = wording.moment(incident.over, dated=True)
        raise NotAnswered(
            409, f"It ended at {ended} UTC, so {what}. If it should not have been an incident, answer that it was "
            "expected."
        )  # fmt: skip
    if kind == "silence" and facts.config.train.alertmanager is None:
        raise NotAnswered(409, "No Alertmanager is known: set train.alertmanager: {url: …}, or silence it there.")


def _refuse_second(facts: Facts, every: Sequence[Feedback], asked: Asked) -> None:
    """Refuse an answer that contradicts one that stands: two people may answer at once. Raises NotAnswered."""
    same = _OPINIONS if asked.new.kind in _OPINIONS else {asked.new.kind}
    incident = asked.logged.incident
    for each in every:
        if each.kind in same and each.stands(asked.now) and each.about(incident.job, asked.key, incident.since):
            at = wording.moment(each.at, dated=True)
            raise NotAnswered(
                409, f"{each.who} has answered this incident already, {at} UTC: {KINDS[each.kind]}, "
                f"{told(each, facts)}. Nothing was changed; take that answer back first if it is wrong."
            )  # fmt: skip


def _made(facts: Facts, asked: Asked, silence: Silenced | None, every: Sequence[Feedback], at: float) -> Feedback:
    _refuse_second(facts, every, asked)
    incident = asked.logged.incident
    expected = None
    if asked.new.kind == "expected":
        zone = facts.time_zone(incident.job)
        expected = like_this(asked.new, incident, asked.now, asked.until, at, zone)
    return Feedback(
        secrets.token_hex(6), asked.new.kind, incident.job, incident.labels, incident.since, incident.over, at,
        asked.who, asked.new.why, expected, silence,
    )  # fmt: skip


def _silence(facts: Facts, asked: Asked) -> Silenced:
    """Make a silence in Alertmanager. Raises NotAnswered."""
    endpoint = facts.config.train.alertmanager
    assert endpoint is not None
    until = asked.now + _SILENCE if asked.until is None else asked.until
    if until > asked.now + _LONGEST_SILENCE:
        raise NotAnswered(400, "A silence of more than 90 days is forgotten: choose an earlier end, or change the job.")
    job = asked.logged.incident.job
    try:
        labels = labels_of(endpoint, job, asked.key)
        return Silenced(silences.silence(endpoint, labels, asked.now, until, asked.who, asked.new.why), until)
    except silences.NotSilenced as error:
        raise NotAnswered(502, f"Nothing was silenced. {error}.") from None


def _end_silence(facts: Facts, silence: Silenced) -> None:
    """End a silence. Raises NotSilenced."""
    if facts.config.train.alertmanager is None:
        raise silences.NotSilenced("train.alertmanager is not set any more; end it in Alertmanager")
    silences.expire(facts.config.train.alertmanager, silence.id)


def _note(made: Feedback, facts: Facts) -> str:
    """Say what happens now."""
    job = facts.jobs.get(made.job)
    soon = f"within {format_duration(job.config.step)}" if job is not None else "soon"
    if made.kind == "expected":
        if made.over is not None and made.expectation is not None and made.expectation.when == "once":
            return "It was over already, so nothing is hidden by this: it is noted that it was none."
        return f"It is taken from view {soon}, and comes back if it grows larger than that."
    if made.kind == "normal":
        return f"Its level is normal {soon}."
    if made.kind == "silence":
        return "Alertmanager sends no message about it until then. It stays an incident here."
    return "It is a label for train and backtest now: the list of answers has the file."
