"""Stored models as text and tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from exporter.models import ModelVersion
from exporter.promql import format_duration

_TIMES: Final = ("trained_from", "trained_to", "trained_at")
_OWN: Final = ("job", "version", "generation", "sha256", "trained_at")  # differ between any two versions


def table_of(found: Mapping[str, Sequence[ModelVersion]]) -> list[Any]:
    """Return a table of the versions of jobs, then notes about them."""
    table = Table()
    for heading in ("job", "version", "active", "trained at", "on", "detector", "size", "gate"):
        table.add_column(heading, overflow="fold")
    notes = []
    for job, versions in found.items():
        for each in versions:
            manifest = each.manifest
            if manifest is None:
                notes.append(f"{job}, {each.version}: {each.refused}")
            row = (
                (moment(manifest.trained_at), _span(manifest.trained_to - manifest.trained_from), manifest.detector,
                 f"{manifest.size:,}", _gate(each))
                if manifest else ("", "", "", "", "rejected, see below")
            )  # fmt: skip
            table.add_row(*(Text(cell) for cell in (job, each.version, "yes" if each.in_service else "", *row)))
        if versions and not any(each.in_service for each in versions):
            notes.append(f"{job}: no model is active; `models verify` shows why, `models rollback` activates one")
        if not versions:
            notes.append(f"{job}: no model is stored yet; the exporter saves its own first fit, or run `train`")
    return [*([table] if table.row_count else []), *notes]


def described(job: str, stored: ModelVersion, trained: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield lines that describe a version, and how the last training ended."""
    yield f"{job} {stored.version}{' (active)' if stored.in_service else ''}"
    if stored.manifest is None:
        yield f"  rejected: {stored.refused}"
    for name, value in facts(stored).items():
        yield f"  {name}: {value}"
    if trained:
        ended = f"{trained.get('outcome')} {trained.get('version') or ''}".strip()
        yield f"  last training: {ended}: {trained.get('reason') or 'no reason given'}"


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
        found |= {"gate": _gate(stored), "gate.judged_at": moment(stored.outcome.judged_at)}
        found |= {f"gate.{name}": value for name, value in stored.outcome.figures.items()}
    return found


def moment(at: float) -> str:
    """Return a time (Unix seconds) as text, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def _span(seconds: float) -> str:
    return format_duration(max(round(seconds), 0))


def _gate(stored: ModelVersion) -> str:
    if stored.outcome is None:
        return "not evaluated"
    return f"{'passed' if stored.outcome.passed else 'rejected'}: {stored.outcome.reason}"
