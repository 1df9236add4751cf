"""All detectors as parameters of a test; the networks are skipped where torch is not installed."""

from importlib.util import find_spec
from typing import Any, Final

import pytest

from detectors import DETECTORS
from tests.support.cycles import SMALL

NETWORKS: Final = ("autoencoder", "lstm", "vae")
needs_torch: Final = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed: see pyproject.toml")


def every_detector(*without: str) -> list[object]:
    """Return the names of all detectors, but for those of `without`, for `pytest.mark.parametrize`."""
    names = sorted(set(DETECTORS) - set(without))
    return [pytest.param(name, marks=needs_torch) if name in NETWORKS else name for name in names]


def judged_by(name: str) -> dict[str, Any]:
    """Return the keys of a job that is judged by a detector: small where its defaults would take tests too long.

    All entities of a job are peers where the detector compares them.
    """
    return {"detector": SMALL.get(name, name), **({"peers": []} if name == "peers" else {})}
