"""Verdicts for tests of what is shown."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors.types import Key
from exporter.pipeline.verdict import Verdict


def key(**labels: str) -> Key:
    """Return the identity of an entity."""
    return tuple(sorted(labels.items()))


def verdict(
    keys: tuple[Key, ...],
    job: str = "cpu",
    detector: str = "robust",
    channels: tuple[str, ...] = ("value",),
    groups: Mapping[Key, float] | None = None,
    **changed: Any,
) -> Verdict:
    """Return a verdict on `keys` in which every number is 1.5 and nothing is flagged, but for what is `changed`."""
    entities = len(keys)
    wide = {
        name: np.full((entities, len(channels)), 1.5)
        for name in ("values", "expected", "lower", "upper", "contribution")
    }
    narrow = {name: np.full(entities, 1.5) for name in ("score", "severity", "since")}
    flags = {name: np.zeros(entities, np.bool_) for name in ("flag", "changed", "flapping", "alert")}
    states = {"ready": entities}
    parts: dict[str, Any] = {**wide, **narrow, **flags, "states": states}
    for name, value in changed.items():
        parts[name] = value if isinstance(value, Mapping) else np.asarray(value, parts[name].dtype)
    return Verdict(job, detector, 0.0, keys, channels, groups=groups or {}, **parts)
