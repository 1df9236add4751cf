"""Stored models as text and tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from exporter.models import ModelVersion
from exporter.models.comparison import facts, gate, moment
from exporter.promql import format_duration


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
                 f"{manifest.size:,}", gate(each))
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


def _span(seconds: float) -> str:
    return format_duration(max(round(seconds), 0))
