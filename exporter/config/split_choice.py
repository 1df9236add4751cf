"""By which label replicas split the queries of a job: known from the configuration alone, so that all say the same."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from exporter.promql_split import labels_named, splits_by

AUTO: Final = "auto"
BY_ENTITY: Final = "entity"
"""Of `shard_by`: replicas keep the entities that are theirs by a hash of the labels."""
_USUAL: Final = ("pod", "instance", "node", "host", "hostname", "nodename", "container", "device")
"""Labels of which there are many values with about as many series each, the best ones first."""


class Shared(Protocol):
    """What of a job decides how it is shared out; see `JobConfig`."""

    @property
    def shard_by(self) -> str:
        """What the configuration says."""
        ...

    @property
    def entity(self) -> tuple[str, ...] | None:
        """Labels that identify an entity; None: all."""
        ...

    @property
    def group(self) -> tuple[str, ...]:
        """Labels of a group."""
        ...

    @property
    def peers(self) -> tuple[str, ...] | None:
        """Labels of a group of peers."""
        ...

    @property
    def queries(self) -> dict[str, str]:
        """PromQL by channel."""
        ...


@dataclass(frozen=True, slots=True)
class SplitChoice:
    """How the entities of a job are shared out among replicas.

    Parameters
    ----------
    label : str or None
        Each replica asks for the series of its values of this label; None: it reads all, and keeps its share by hash.
    why : str
        A clause for people.
    """

    label: str | None
    why: str


def split_choice(job: Shared) -> SplitChoice:
    """Return how the entities of a job are shared out."""
    return _choice(job.shard_by, tuple(job.queries.values()), job.entity, job.group, job.peers)


def not_split_by(label: str, job: Shared) -> str:
    """Return why a job cannot be split by a label, "" where it can."""
    if (why := _apart(label, job.entity, job.group, job.peers)) != "":
        return why
    for channel, expr in job.queries.items():
        if not splits_by(expr, label):
            which = f"the query of {channel}" if len(job.queries) > 1 else "its query"
            return f"{which} mixes series with other values of {label}; keep it in every `by (…)` and `on (…)`"
    return ""


def _apart(label: str, entity: tuple[str, ...] | None, group: tuple[str, ...], peers: tuple[str, ...] | None) -> str:
    """Return what a label would tear apart that one replica must judge."""
    for key, labels in (("entity", entity), ("group", group or None), ("peers", peers)):
        if labels is not None and label not in labels:
            return f"{label} is not among the labels of {key}, whose members one replica judges"
    return ""


@lru_cache(maxsize=1024)
def _choice(
    asked: str,
    queries: tuple[str, ...],
    entity: tuple[str, ...] | None,
    group: tuple[str, ...],
    peers: tuple[str, ...] | None,
) -> SplitChoice:
    if asked == BY_ENTITY:
        return SplitChoice(None, "shard_by says so")
    if asked != AUTO:
        return SplitChoice(asked, "shard_by says so")
    named = dict.fromkeys((*labels_named(queries[0]), *(entity or ())))
    fit = [
        label
        for label in named
        if not _apart(label, entity, group, peers) and all(splits_by(expr, label) for expr in queries)
    ]
    if len(fit) == 1 and len(named) == 1:
        return SplitChoice(fit[0], "the only label of its series")
    for label in _USUAL:
        if label in fit:
            return SplitChoice(label, "the label that its query groups by with the most values, by its name")
    return SplitChoice(None, "its query does not say which label has many values; shard_by can")
