"""What the page of an incident needs to take an answer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request

from exporter.web.same_origin import login_of, token_of
from exporter.web.ui.answering import LONGEST_REASON
from exporter.web.ui.facts import Running
from exporter.web.ui.feedback_answers import Answer
from exporter.web.ui.feedback_wording import answer_of, day_of
from exporter.web.ui.rights import Rights
from exporter.web.ui.series_answers import Series


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What the page of an incident needs to take an answer.

    Parameters
    ----------
    id, job, since : str, str, float
        The incident.
    answers : list of Answer
        Those to it, and those of its series that stand.
    refusal : str
        Why none can be given, "" where one can.
    token, login : str
    is_open, can_silence : bool
    begun : dict
        `day` and `time` at which it began, for texts.
    """

    id: str
    job: str
    since: float
    answers: list[Answer]
    refusal: str
    token: str
    login: str
    is_open: bool
    can_silence: bool
    begun: Mapping[str, str]
    longest_reason: int = LONGEST_REASON


def form_of(running: Running, rights: Rights, request: Request, shown: Series, since: float, now: float) -> AnswerForm:
    """Return the form for the incident of a series that began `since` (Unix seconds), NaN: the one that is open."""
    if shown.incident is not None and shown.incident.since is not None and math.isnan(since):
        since = datetime.fromisoformat(shown.incident.since).timestamp()
    facts, key = running.facts(), tuple(sorted(shown.labels.items()))
    about = [
        answer_of(each, facts, now)
        for each in reversed(running.feedback.every())
        if each.job == shown.job and each.key == key and (each.stands(now) or each.about(shown.job, key, since))
    ]
    return AnswerForm(
        shown.id, shown.job, since, about, rights.refusal, token_of(request), login_of(request),
        is_open=shown.incident is not None, can_silence=facts.config.train.alertmanager is not None,
        begun=day_of(since, facts.time_zone(shown.job)) if math.isfinite(since) else {},
    )  # fmt: skip
