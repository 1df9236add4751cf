"""The detectors. A new one is one file and one line in DETECTORS.

DETECTORS holds dotted names instead of classes: some modules import libraries that take seconds to load, so only the
configured detectors are imported. mypy checks every detector against `StatefulDetector`; a test resolves every name.
"""

from collections.abc import Mapping
from dataclasses import Field, fields
from difflib import get_close_matches
from pkgutil import resolve_name
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
    "peers": "detectors.peers.detector:Peers",
    "river": "detectors.river_detector:River",
    "robust": "detectors.robust:Robust",
    "seasonal": "detectors.seasonal:Seasonal",
    "vae": "detectors.networks.vae:VAE",
}


def make(spec: str | Mapping[str, Mapping[str, Any]], window: int, peers: tuple[str, ...] | None = None) -> Detector:
    """Build the detector that `spec` names, for example `"robust"` or `{"robust": {"deviations": 6}}`.

    `window` is the job's window in samples, the default of the parameter `window`; `peers` are the labels whose values
    make entities peers, None: nobody asks for a comparison. Raises ValueError when the name or a parameter is unknown,
    with the nearest known name, when a parameter is out of range, and when a detector does not compare peers.

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
    kind = resolve_name(DETECTORS[name])
    if "peers" in parameters:
        raise ValueError("peers is a key of the job, not of a detector: replicas share out the entities by it")
    if peers is not None:
        if not compares_peers(spec):
            raise ValueError(f"the detector {name} does not compare peers; auto and peers do, and ensembles with them")
        parameters = {**parameters, "peers": peers}
    detector: Detector = TypeAdapter(kind).validate_python({"window": window, **parameters})
    return detector


def compares_peers(spec: str | Mapping[str, Any]) -> bool:
    """Tell whether the detector that `spec` names can compare entities with their peers.

    >>> compares_peers("auto"), compares_peers({"robust": {"deviations": 6}})
    (True, False)
    """
    name = spec if isinstance(spec, str) else next(iter(spec), "")
    return name in DETECTORS and "peers" in fields_of(name)


def needs_peers(spec: str | Mapping[str, Any]) -> bool:
    """Tell whether the detector that `spec` names looks at nothing but peers, or a member of it does.

    >>> needs_peers("auto"), needs_peers({"ensemble": {"detectors": ["auto", "peers"]}})
    (False, True)
    """
    if isinstance(spec, str):
        return spec == "peers"
    name, parameters = next(iter(spec.items()), ("", None))
    members = (parameters or {}).get("detectors", ()) if name == "ensemble" else ()
    return name == "peers" or any(needs_peers(member) for member in members)


def fields_of(name: str) -> dict[str, Field[Any]]:
    """Return the hyper-parameters of a known detector by name. Raises ImportError when it cannot be loaded here."""
    return {field.name: field for field in fields(resolve_name(DETECTORS[name])) if field.init}


__all__ = ["DETECTORS", "Batch", "Detector", "Flags", "Floats", "Judgement", "Key", "State", "make"]
