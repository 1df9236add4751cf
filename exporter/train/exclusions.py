"""Labelled incidents in the training time: incidents of a file, alerts that were firing, silences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from detectors.types import Key
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.sections.train import Endpoint
from exporter.config.values import shown
from exporter.json_values import typed_json
from exporter.labelled_incidents import LabelledIncident, find_alerts, read_incidents
from exporter.source.endpoint import session_to
from exporter.source.error_mapping import clean
from exporter.source.errors import SourceError
from exporter.train.errors import TrainError

_QUERY: Final = "query"
"""Label that our own alerts have in addition to those of the entity: the name of the job."""


@dataclass(frozen=True, slots=True)
class LabelledIncidents:
    """Both are excluded from training. A model should find `events`; `silences` count neither for nor against it."""

    events: Sequence[LabelledIncident]
    silences: Sequence[LabelledIncident]


class Matcher(msgspec.Struct, frozen=True, rename="camel"):
    """One matcher of a silence as Alertmanager's API has it."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def __post_init__(self) -> None:
        if self.is_regex:
            try:
                re.compile(self.value)
            except re.error as error:  # Go knows a few forms that Python does not
                raise ValueError(f"the pattern {shown(self.value)} is not understood here: {error}") from None

    def matches(self, value: str) -> bool:
        """Tell whether a label's value is meant."""
        same = re.fullmatch(self.value, value) is not None if self.is_regex else self.value == value
        return same is self.is_equal


class _Silence(msgspec.Struct, frozen=True, rename="camel"):
    starts_at: datetime
    ends_at: datetime
    matchers: list[Matcher]


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence of Alertmanager; an expired one ends when it was expired."""

    start: float
    end: float
    matchers: tuple[Matcher, ...]
    job: str

    def concerns(self, key: Key) -> bool:
        """Tell whether it is about this entity of the job: every matcher on a label it has matches, and there is one.

        Matchers on labels that the entity does not have, such as the name of the alert, are ignored.
        """
        own = {**dict(key), _QUERY: self.job}
        about = [matcher for matcher in self.matchers if matcher.name in own]
        return bool(about) and all(matcher.matches(own[matcher.name]) for matcher in about)


def labelled_incidents_of(config: Config, job: str, settings: JobConfig, start: float, end: float) -> LabelledIncidents:
    """Return the labelled incidents of a job from `start` to `end` (Unix seconds). Raises InputError, TrainError."""
    train = config.train
    events: list[LabelledIncident] = [] if train.incidents is None else [*read_incidents(train.incidents)]
    if train.alerts is not None:
        try:
            events += find_alerts(config, train.alerts, start, end, settings.step)
        except SourceError as error:
            raise TrainError(f"the alerts {train.alerts} cannot be read: {error}; look at train.alerts") from None
    silences = [] if train.alertmanager is None else read_silences(train.alertmanager, job)
    return LabelledIncidents(_within(events, start, end), _within(silences, start, end))


def read_silences(endpoint: Endpoint, job: str) -> list[Silence]:
    """Return the silences that Alertmanager remembers, pending, active and expired (API v2). Raises TrainError."""
    try:
        with session_to(endpoint) as session:
            body = session.request("GET", f"{endpoint.url}/api/v2/silences").content
        every = typed_json(body, list[_Silence])
        return [
            Silence(each.starts_at.timestamp(), each.ends_at.timestamp(), tuple(each.matchers), job) for each in every
        ]
    except SourceError as error:
        raise TrainError(f"the silences cannot be read: {error}; or leave train.alertmanager out") from None
    except ValueError as error:
        what = f"{endpoint.url} sent something else than Alertmanager's silences: {clean(str(error))}"
        raise TrainError(f"{what}; look at train.alertmanager") from None


def _within(every: Sequence[LabelledIncident], start: float, end: float) -> list[LabelledIncident]:
    return [each for each in every if each.end >= start and each.start <= end]
