"""The detectors. A new one is one file and one line in DETECTORS.

DETECTORS holds dotted names instead of classes: some modules import libraries that take seconds to load, so only the
configured detectors are imported. mypy checks every detector against `StatefulDetector`; a test resolves every name.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

from pydantic import TypeAdapter

from detectors.types import Batch, Detector, Flags, Floats, Judgement, Key, State

DETECTORS: Final[Mapping[str, str]] = {
    "auto": "detectors.auto:Auto",
    "autoencoder": "detectors.networks.autoencoder:Autoencoder",
    "ensemble": "detectors.ensemble:Ensemble",
    "half_space_trees": "detectors.half_space_trees.detector:HalfSpaceTreesDetector",
    "isolation_forest": "detectors.isolation_forest.detector:IsolationForestDetector",
    "lstm": "detectors.networks.lstm:LSTM",
    "river": "detectors.river_detector:River",
    "robust": "detectors.robust:Robust",
    "seasonal": "detectors.seasonal:Seasonal",
    "vae": "detectors.networks.vae:VAE",
}


def make(spec: str | Mapping[str, Mapping[str, Any]], window: int) -> Detector:
    """Build the detector that `spec` names, for example `"robust"` or `{"robust": {"deviations": 6}}`.

    `window` is the job's window in samples, the default of the parameter `window`. Raises ValueError when the name or a
    parameter is unknown, with the nearest known name, and when a parameter is out of range.

    Examples
    --------
    >>> make({"robust": {"deviations": 6}}, window=60)
    Robust(window=60, deviations=6.0, min_samples=10)
    >>> make("robbust", window=60)
    Traceback (most recent call last):
    ValueError: unknown detector 'robbust', did you mean 'robust'?
    """
    if isinstance(spec, str):
        spec = {spec: {}}
    if len(spec) != 1:
        raise ValueError("name exactly one detector")
    ((name, parameters),) = spec.items()
    if name not in DETECTORS:
        near = get_close_matches(name, DETECTORS, n=1)
        raise ValueError(
            f"unknown detector {name!r}"
            + (f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(DETECTORS)}")
        )
    module, _, attribute = DETECTORS[name].partition(":")
    kind = getattr(import_module(module), attribute)
    detector: Detector = TypeAdapter(kind).validate_python({"window": window, **parameters})
    return detector


__all__ = ["DETECTORS", "Batch", "Detector", "Flags", "Floats", "Judgement", "Key", "State", "make"]
