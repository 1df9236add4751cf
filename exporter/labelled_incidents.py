"""Known incidents: read from a file, or from what was firing in Prometheus."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
import numpy as np
import structlog
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from detectors.types import Flags, Floats, Key
from exporter.config.errors import ConfigError
from exporter.config.nodes import plain
from exporter.config.read_file import parse
from exporter.config.sections.root import Config
from exporter.config.values import moment
from exporter.errors import InputError
from exporter.source.adaptive import read_whole, told
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

log = structlog.get_logger()


class LabelledIncident(Protocol):
    """Something that was wrong from `start` to `end` (Unix seconds)."""

    @property
    def start(self) -> float: ...  # noqa: D102 - see the class

    @property
    def end(self) -> float: ...  # noqa: D102 - see the class

    def concerns(self, key: Key) -> bool:
        """Tell whether the entity with these labels was part of it."""
        ...


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


def _seconds(value: object) -> float:
    return moment(str(value))


class Incident(BaseModel):
    """One known incident; `labels` are matched like `=~` in PromQL, by the whole value. None: every entity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Annotated[float, BeforeValidator(_seconds)]
    end: Annotated[float, BeforeValidator(_seconds)]
    labels: dict[str, Annotated[str, AfterValidator(_pattern)]] = {}

    def concerns(self, key: Key) -> bool:
        """Tell whether the entity with these labels was part of it; a label it lacks counts as empty."""
        own = dict(key)
        return all(re.fullmatch(pattern, own.get(name, "")) for name, pattern in self.labels.items())


_LONGEST: Final = 300
"""Characters of what is said about one mistake."""


def read_incidents(path: Path) -> list[Incident]:
    """Read a list of incidents. Raises InputError with every mistake."""
    try:
        root, mistakes = parse(path.read_text(encoding="utf-8"), str(path))
        if mistakes:
            raise ConfigError(*mistakes)
        incidents = TypeAdapter(list[Incident]).validate_python(None if root is None else plain(root))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ConfigError as error:
        raise InputError(str(error)) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = [
            f"{path}: {'incident ' + '.'.join(str(part) for part in fault['loc']) if fault['loc'] else 'the file'}: "
            + ("must be a list of {start, end, labels}" if not fault["loc"] else fault["msg"][:_LONGEST])
            for fault in error.errors(include_url=False)
        ]
        raise InputError("\n".join(lines)) from None
    for number, incident in enumerate(incidents):
        if incident.end < incident.start:
            raise InputError(f"{path}: incident {number}: ends before it starts")
    return incidents


def label_of(key: Key, times: Floats, incidents: Sequence[LabelledIncident]) -> tuple[Floats, Flags]:
    """Return the label of each row of an entity, and which of the incidents cover a row of it."""
    label = np.zeros(len(times))
    used = np.zeros(len(incidents), np.bool_)
    for number, incident in enumerate(incidents):
        if incident.concerns(key):
            inside = (times >= incident.start) & (times <= incident.end)
            label[inside] = 1.0
            used[number] = inside.any()
    return label, used


_OF_THE_ALERT: Final = frozenset({"__name__", "alertgroup", "alertname", "alertstate"})
_BRACES: Final = re.compile(r"^\s*\{(.*)\}\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Alert:
    """One time in which an alert was firing, with its labels; an incident like those of a file."""

    start: float
    end: float
    labels: Key

    def concerns(self, key: Key) -> bool:
        """Tell whether it is about this entity: all labels that both have are equal, and there is one.

        An entity without labels is the whole of what its job asks for; every alert is about it.
        """
        own = dict(key)
        shared = [(name, value) for name, value in self.labels if name in own]
        return all(own[name] == value for name, value in shared) and (bool(shared) or not own)


def read_alerts(config: Config, matchers: str, start: float, end: float, step: float) -> list[Alert]:
    """Return what was firing from `start` to `end` (Unix seconds), as `ALERTS` tells it every `step` seconds.

    An alert begins when it was pending, not when its `for` was over: who finds the trouble before that is right.
    `matchers` are those of a PromQL selector, with braces or without. Raises InputError, also where there was none.
    """
    if not _inner(matchers):
        raise InputError("--labels-from-alerts: which alerts? Write matchers: 'alertname=~\"Node.*\"'")
    try:
        alerts = find_alerts(config, matchers, start, end, step)
    except SourceError as error:
        raise InputError(f"--labels-from-alerts {matchers}: {error}") from None
    if not alerts:
        raise InputError(f"--labels-from-alerts {matchers}: no such alert was firing in this time range")
    return alerts


def find_alerts(config: Config, matchers: str, start: float, end: float, step: float) -> list[Alert]:
    """Return the same, or nothing where nothing was firing. Raises SourceError."""
    inner = _inner(matchers)
    start, end = math.floor(start / step) * step, math.ceil(end / step) * step  # the times at which samples are judged
    source = Prometheus(config.prometheus, config.limits)
    try:
        frame, gaps = read_whole(source, f'ALERTS{{{inner},alertstate=~"pending|firing"}}', start, end, step)
    finally:
        source.close()
    if gaps:
        log.warning("alerts_not_answered", matchers=matchers, **told(gaps, step))
    firing: defaultdict[Key, dict[float, bool]] = defaultdict(dict)
    lasts = np.cumsum(frame.counts)
    for label, first, last in zip(frame.labels, lasts - frame.counts, lasts, strict=True):
        labels = msgspec.json.decode(label, type=dict[str, str])
        key = tuple(sorted(pair for pair in labels.items() if pair[0] not in _OF_THE_ALERT))
        of_alert = firing[(("alertname", labels.get("alertname", "")), *key)]
        for time in frame.times[first:last].tolist():
            of_alert[time] = of_alert.get(time, False) or labels.get("alertstate") == "firing"
    return [alert for (_, *key), states in firing.items() for alert in _firing(tuple(key), states, step)]


def _inner(matchers: str) -> str:
    return _BRACES.sub(r"\1", matchers).strip().rstrip(",")


def _firing(labels: Key, states: Mapping[float, bool], step: float) -> Iterator[Alert]:
    """Yield the runs of samples a step apart in which the alert was firing at last, up to where it was."""
    times = np.array(sorted(states))
    for run in np.split(times, np.flatnonzero(np.diff(times) > 1.5 * step) + 1):
        fired = [time for time in run.tolist() if states[time]]
        if fired:
            yield Alert(float(run[0]), fired[-1], labels)
