"""What teams declare, kept in the state folder: what a start goes by while Kubernetes is away."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from exporter.atomic_files import read_once, write_atomically
from exporter.config.declared_objects import Declaration

log = structlog.get_logger()

FILE: Final = "declared.json"
_LARGEST: Final = 64 * 2**20


def write(folder: Path, declarations: Sequence[Declaration]) -> None:
    """Keep what is declared; where that cannot be, the log says so."""
    text = json.dumps([asdict(each) for each in declarations])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILE, text.encode())
    except OSError as error:
        hint = "a start while Kubernetes is away would not know the declared jobs"
        log.warning("declared_not_kept", file=str(folder / FILE), why=error.strerror, hint=hint)


def read(folder: Path) -> list[Declaration]:
    """Return what was declared when it was written last, nothing where that is not known."""
    try:
        found = json.loads(read_once(folder / FILE, _LARGEST))
        return [_declaration(each) for each in found]
    except FileNotFoundError:
        return []
    except Exception as error:  # a damaged file is no reason not to start
        hint = "it is written again once Kubernetes has answered"
        log.warning("declared_not_read", file=str(folder / FILE), why=f"{type(error).__name__}: {error}", hint=hint)
        return []


def _declaration(kept: dict[str, Any]) -> Declaration:
    kept["texts"] = tuple((str(key), str(text)) for key, text in kept["texts"])
    kept["rules"] = tuple((str(name), str(metric), str(expr)) for name, metric, expr in kept["rules"])
    return Declaration(**kept)
