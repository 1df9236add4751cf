"""An incidents file: when something was wrong, and with which entities."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from detectors.types import Flags, Floats, Key
from exporter.backtest.data import BacktestError, moment


class Known(Protocol):
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
    if isinstance(value, datetime):  # YAML knows timestamps
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
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


def read_incidents(path: Path) -> list[Incident]:
    """Read a list of incidents. Raises BacktestError with every mistake."""
    try:
        incidents = TypeAdapter(list[Incident]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BacktestError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = [
            f"{path}: {'incident ' + '.'.join(str(part) for part in fault['loc']) if fault['loc'] else 'the file'}: "
            + ("must be a list of {start, end, labels}" if not fault["loc"] else fault["msg"])
            for fault in error.errors(include_url=False)
        ]
        raise BacktestError("\n".join(lines)) from None
    for number, incident in enumerate(incidents):
        if incident.end < incident.start:
            raise BacktestError(f"{path}: incident {number}: ends before it starts")
    return incidents


def label_of(key: Key, times: Floats, incidents: Sequence[Known]) -> tuple[Floats, Flags]:
    """Return the label of each row of an entity, and which of the incidents cover a row of it."""
    label = np.zeros(len(times))
    used = np.zeros(len(incidents), np.bool_)
    for number, incident in enumerate(incidents):
        if incident.concerns(key):
            inside = (times >= incident.start) & (times <= incident.end)
            label[inside] = 1.0
            used[number] = inside.any()
    return label, used
