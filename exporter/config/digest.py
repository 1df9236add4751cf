"""Short digests of what is configured: equal digests, equal verdicts. No secret goes in, only its reference.

A job has two. While the digest of what shapes *learning* stays, a reload or a restart keeps the job's history, model,
open incidents and saved state. What shapes *deciding* is exchanged in the running job.
"""

import hashlib
import json
from typing import Any, Final, NamedTuple

from exporter.config.sections.job import DECIDING, NEITHER, JobConfig, drift_settings
from exporter.config.sections.root import Config

_SOURCE: Final = frozenset({"url", "headers"})
"""Keys of `prometheus` that decide whose samples are read: a tenant is a header. The rest is how they are read."""
_STORE: Final = frozenset({"path", "url", "options"})
"""Keys of `models` that decide which store it is, so which model is active. The rest is how it is used."""


class JobDigests(NamedTuple):
    """The digests of one job, 12 hexadecimal digits each."""

    learning: str
    deciding: str

    @property
    def combined(self) -> str:
        """Digest that changes with either: `config_hash` of a verdict. Empty for a job that no file configures."""
        return _digest(self) if any(self) else ""


NO_DIGESTS: Final = JobDigests("", "")
"""Of a job that no reload concerns, such as that of a backtest."""


class JobKeys(NamedTuple):
    """A digest for every effective key of a job, so that what differs can be named and no value is shown."""

    learning: dict[str, str]
    deciding: dict[str, str]

    @property
    def digests(self) -> JobDigests:
        """The digests of the job."""
        return JobDigests(_digest(self.learning), _digest(self.deciding))


def config_digest(config: Config) -> str:
    """Return 12 hexadecimal digits that change with every effective setting; what is for all jobs is in theirs."""
    return _digest(config.model_dump(mode="json", exclude={"budget", "defaults"}))


def job_digests(job: JobConfig, config: Config) -> JobDigests:
    """Return the digests of what shapes the job's learning and of what shapes its deciding."""
    return job_keys(job, config).digests


def job_keys(job: JobConfig, config: Config) -> JobKeys:
    """Return a digest for every key that shapes the job's learning and for every one that shapes its deciding."""
    own = job.model_dump(mode="json", exclude=set(NEITHER))
    drift = drift_settings(job.drift_detection, config.drift_detection)
    own["drift_detection"] = None if drift is None else drift.model_dump(mode="json")
    if own["history"] == "auto":
        own["history"] = None  # as before it had a name: a newer release is no reason to forget what was learnt
    if own["peers"] is None:
        del own["peers"]  # as before there were peers, for the same reason
    if own["shard_by"] == "auto":
        del own["shard_by"]
    deciding = {key: own.pop(key) for key in DECIDING}
    source = config.prometheus.model_dump(mode="json", include=set(_SOURCE))
    store = config.models.model_dump(mode="json", include=set(_STORE)) if config.models else {}
    learning = own | _below("prometheus", source) | _below("models", store)
    return JobKeys(
        {key: _digest(value) for key, value in sorted(learning.items())},
        {key: _digest(value) for key, value in sorted(deciding.items())},
    )


def _below(section: str, keys: dict[str, Any]) -> dict[str, Any]:
    return {f"{section}.{key}": value for key, value in keys.items()}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
