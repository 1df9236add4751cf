"""What people have answered to incidents: who, when and why, in a file of the state folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from detectors.types import Key
from exporter.atomic_files import TooLarge, read_once
from exporter.json_values import typed_json
from exporter.pipeline.expectation import Expectation, JobFeedback, Said
from exporter.sinks import checked_json

Kind = Literal["expected", "normal", "silence", "incident"]
KINDS: Final[tuple[Kind, ...]] = ("expected", "normal", "silence", "incident")
FILE: Final = "feedback.json"
_LARGEST: Final = 256 * 2**20


class Silenced(msgspec.Struct, frozen=True):
    """A silence that was made in Alertmanager; `until` in Unix seconds."""

    id: str
    until: float


class Undone(msgspec.Struct, frozen=True):
    """That an answer was taken back; `at` in Unix seconds."""

    at: float
    who: str


class Feedback(msgspec.Struct, frozen=True):
    """One answer to one incident. Times are Unix seconds.

    Parameters
    ----------
    id : str
    kind : str
        `expected`: it was none. `normal`: its level is normal from now on. `silence`: no message about it.
        `incident`: it was a real one.
    job, labels : str, dict
        The series.
    since, over : float, float or None
        When the incident began, and ended; None: it was open when the answer was given.
    at : float
        When it was given: it holds for samples later than this.
    who, why : str
    expectation : Expectation or None
        What is expected.
    silence : Silenced or None
    undone : Undone or None
    """

    id: str
    kind: Kind
    job: str
    labels: dict[str, str]
    since: float
    over: float | None
    at: float
    who: str
    why: str
    expectation: Expectation | None = None
    silence: Silenced | None = None
    undone: Undone | None = None

    @property
    def key(self) -> Key:
        """The identity of the series."""
        return tuple(sorted(self.labels.items()))

    def stands(self, now: float) -> bool:
        """Tell whether it holds at `now` (Unix seconds): it was not taken back and has not come to its end."""
        ends = [each.until for each in (self.expectation, self.silence) if each is not None]
        return self.undone is None and not any(end is not None and end < now for end in ends)

    def about(self, job: str, key: Key, since: float) -> bool:
        """Tell whether it is about the incident that began `since` (Unix seconds), to a second."""
        return self.job == job and abs(self.since - since) < 1.0 and self.key == tuple(sorted(key))


class Saved(msgspec.Struct):
    """The file; the oldest answer comes first."""

    feedback: list[Feedback] = []


@dataclass(frozen=True, slots=True)
class UnusableFeedback(Exception):
    """The file of the answers cannot be read. The message says why and what to do."""

    text: str

    def __str__(self) -> str:
        return self.text


def read_feedback(file: Path) -> list[Feedback]:
    """Read the answers of a state folder, or exported ones; none where there is no file. Raises UnusableFeedback."""
    try:
        data = read_once(file, _LARGEST)
        if data.lstrip()[:1] == b"{":  # exported: without a checksum
            return typed_json(data, Saved).feedback
        return checked_json.decode(data, Saved).feedback
    except FileNotFoundError:
        return []
    except (OSError, TooLarge, ValueError) as error:
        what = f"{file}: the answers to incidents cannot be read: {error}"
        hint = "Put a copy back, or move the file away and restart to begin without them"
        raise UnusableFeedback(f"{what}. {hint}") from None


def of_jobs(feedback: Sequence[Feedback]) -> Callable[[str], JobFeedback]:
    """Return what there is for each job to heed."""
    by_job: dict[str, list[Feedback]] = {}
    for each in feedback:
        by_job.setdefault(each.job, []).append(each)

    def of(job: str) -> JobFeedback:
        every = by_job.get(job, ())
        expected = (
            Said(each.key, each.expectation, None if each.undone is None else each.undone.at)
            for each in every
            if each.expectation is not None
        )
        return JobFeedback(tuple(expected), tuple((each.key, each.at) for each in every if each.kind == "normal"))

    return of
