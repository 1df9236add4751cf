"""What is configured of a job."""

from dataclasses import dataclass
from typing import Final

from detectors.types import Key
from exporter.config.digest import NO_DIGESTS, JobDigests
from exporter.config.sections.job import JobConfig
from exporter.config.split_choice import split_choice
from exporter.pipeline.shard import Shard

ALL: Final = Shard()
"""A replica that has every entity to itself."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What is configured of a job; a reload replaces it as a whole.

    Parameters
    ----------
    name : str
        Name in the configuration; the label `query`.
    config : JobConfig
        Its section of the configuration.
    digests : JobDigests
        Of what shapes the job's learning, with which a reload keeps the job, and of what shapes its deciding.
    shard : Shard
        Which entities are ours; the job's budget is shared out among the replicas.
    jobs : int
        How many jobs there are, which share what a start may take.
    """

    name: str
    config: JobConfig
    digests: JobDigests = NO_DIGESTS
    shard: Shard = ALL
    jobs: int = 1

    @property
    def model_name(self) -> str:
        """Name of the job's models in the store."""
        return self.shard.model_name(self.name)

    @property
    def split_label(self) -> str | None:
        """Label by which replicas split the queries; None: each keeps its share of the answers, or there is but one."""
        return None if self.shard.count == 1 else split_choice(self.config).label

    def owns(self, key: Key) -> bool:
        """Tell whether an entity is ours to judge.

        The members of a group and those of a group of peers belong together. Where both are asked for, entities with
        equal values of the labels in both do; without such a label one replica has the whole job.
        """
        if (label := self.split_label) is not None:
            return self.shard.owns_value(dict(key).get(label, ""))
        group, peers = self.config.group, self.config.peers
        if peers is None:
            return self.shard.owns(key, group)
        return self.shard.owns(key, tuple(name for name in peers if not group or name in group), whole=True)
