"""Short digests of what is configured: equal digests, equal verdicts. No secret goes in, only its reference."""

import hashlib
import json
from typing import Any

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config


def config_digest(config: Config) -> str:
    """Return 12 hexadecimal digits that change with every effective setting."""
    return _digest(config.model_dump(mode="json"))


def job_digest(job: JobConfig, config: Config) -> str:
    """Return 12 hexadecimal digits that change with whatever the job's cycles depend on.

    That is all of the job but its alert (which only the generated rules read) and how drift is watched, whose data it
    asks for, and the model store. A job keeps its state over a reload while its digest stays.
    """
    source = config.prometheus.model_dump(mode="json", include={"url", "headers"})
    models = config.models.model_dump(mode="json", exclude={"timeout", "poll"}) if config.models else None
    own = job.model_dump(mode="json", exclude={"alert", "drift_detection"})
    return _digest({"job": own, "source": source, "models": models})


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
