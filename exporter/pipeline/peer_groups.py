"""Which entities of a job have no peers to be compared with, so that nobody takes silence for health."""

from dataclasses import dataclass

from detectors.peers.groups import LEAST, Groups
from detectors.types import Key
from exporter.config.sections.job import JobConfig


@dataclass(frozen=True, slots=True)
class WithoutPeers:
    """Entities of a job that asks for a comparison with peers and cannot have it.

    Parameters
    ----------
    alone, unlabelled, of : int
        Entities with too few peers, those of them that lack a label of `peers`, and all of the job.
    missing : tuple of str
        Labels of `peers` that no entity has.
    alone_only : bool
        The detector looks at nothing else: these entities have no score.
    """

    alone: int
    unlabelled: int
    of: int
    missing: tuple[str, ...]
    alone_only: bool

    @property
    def text(self) -> str:
        """It in a sentence, for Status and the log.

        >>> print(WithoutPeers(3, 0, 40, (), False).text)
        3 of 40 series have fewer than 2 peers and are not compared: a group of one or two tells nothing.
        """
        ending = "; they have no score." if self.alone_only else "."
        if self.missing:
            named = " and ".join(self.missing)
            return f"no series has the label {named} of peers, so none is compared: see the labels of the query{ending}"
        text = f"{self.alone} of {self.of} series have fewer than {LEAST} peers and are not compared: "
        text += "a group of one or two tells nothing"
        if self.unlabelled:
            text += f"; {self.unlabelled} of them lack a label of peers"
        return text + ending


class PeerCount:
    """Counts the entities of a job without peers; the groups are looked at again when entities come or go."""

    def __init__(self, job: JobConfig) -> None:
        self._labels, self._alone_only = job.peers, job.detector_name == "peers"
        self._found: tuple[tuple[Key, ...], WithoutPeers | None] = ((), None)

    def take(self, keys: tuple[Key, ...]) -> WithoutPeers | None:
        """Return who of the entities `keys` has no peers; None where all have some, or nobody asks."""
        if self._labels is not None and keys is not self._found[0]:
            self._found = keys, self._look(keys, self._labels)
        return self._found[1]

    def _look(self, keys: tuple[Key, ...], labels: tuple[str, ...]) -> WithoutPeers | None:
        groups = Groups(keys, labels)
        if not groups.alone:
            return None
        unlabelled = int((groups.group_of < 0).sum())
        missing: tuple[str, ...] = ()
        if unlabelled == len(keys):
            there = {name for key in keys for name, _ in key}
            missing = tuple(name for name in labels if name not in there)
        return WithoutPeers(groups.alone, unlabelled, len(keys), missing, self._alone_only)
