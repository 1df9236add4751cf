"""What is to be known of stored models, for people, and in what two of them differ."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from exporter.models.maintenance import ModelVersion

_TIMES: Final = ("trained_from", "trained_to", "trained_at")
_OWN: Final = ("job", "version", "generation", "sha256", "trained_at")  # differ between any two versions


def differences(one: ModelVersion, other: ModelVersion) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two versions differ, by name."""
    mine, theirs = facts(one), facts(other)
    names = dict.fromkeys([*mine, *theirs])
    return {
        name: (mine.get(name), theirs.get(name))
        for name in names
        if name not in _OWN and mine.get(name) != theirs.get(name)
    }


def facts(stored: ModelVersion) -> dict[str, Any]:
    """Return manifest and gate decision of a version as flat fields, for people."""
    found: dict[str, Any] = {}
    for name, value in (asdict(stored.manifest) if stored.manifest else {}).items():
        if name in _TIMES:
            found[name] = moment(value)
        elif isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            found[name] = ", ".join(value) if name == "channels" else value
    if stored.outcome is not None:
        found |= {"gate": gate(stored), "gate.judged_at": moment(stored.outcome.judged_at)}
        found |= {f"gate.{name}": value for name, value in stored.outcome.figures.items()}
    return found


def moment(at: float) -> str:
    """Return a time (Unix seconds) as text, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def gate(stored: ModelVersion) -> str:
    """Return what the gate decided on a version."""
    if stored.outcome is None:
        return "not evaluated"
    return f"{'passed' if stored.outcome.passed else 'rejected'}: {stored.outcome.reason}"
