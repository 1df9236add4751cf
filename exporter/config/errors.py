"""Mistakes in a configuration: each message names the file, the line, the key and the remedy."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from typing import Final

from exporter.config.nodes import Place
from exporter.redact import printable

MOST: Final = 100
"""Mistakes shown; a file with more has one cause, not a hundred."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Parameters
    ----------
    file : str
        Path as the user gave it, or `environment variable NAME`.
    line : int or None
        Line of the key in the file, from 1.
    place : tuple of str and int
        Keys and list positions that lead to the value; empty for the file as a whole.
    message : str
        What is wrong and what to do. Never holds a secret.
    """

    file: str
    line: int | None
    place: Place
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        parts = (where, dotted(self.place), self.message)
        # A key or value may hold terminal escapes or, from the environment, halves of surrogate pairs.
        return printable(": ".join(part for part in parts if part))


class ConfigError(Exception):
    """The configuration cannot be used. `mistakes` holds all that is wrong with it; str() is one line for each."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        lines = [str(mistake) for mistake in self.mistakes[:MOST]]
        if len(self.mistakes) > MOST:
            lines.append("… and more mistakes")
        return "\n".join(lines)


def in_order(mistakes: Iterable[Mistake], files: Iterable[PurePath]) -> list[Mistake]:
    """Sort by file in reading order, then by line; those without a line come first, those of the environment last."""
    rank = {str(file): number for number, file in enumerate(files)}
    return sorted(dict.fromkeys(mistakes), key=lambda m: (rank.get(m.file, len(rank)), m.line or 0, m.file))


def dotted(place: Place) -> str:
    """Write a place as `jobs.api.entity[0]`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{_short(part)}"
    return text.removeprefix(".")


def nearest(key: str, known: Collection[str]) -> str | None:
    """Return the known key that `key` was probably meant to be."""
    folded = {name.lower().replace("-", "_"): name for name in known}
    near = get_close_matches(key[:60].lower().replace("-", "_"), folded, n=1)
    return folded[near[0]] if near else None


def unknown_key(key: str, known: Collection[str]) -> str:
    """Say that a key is unknown, and what may stand there."""
    if near := nearest(key, known):
        return f"unknown key; did you mean {near!r}?"
    return f"unknown key; known here: {', '.join(known)}" if known else "unknown key"


def _short(key: str) -> str:
    return repr(key) if key == "" else key if len(key) <= 80 else f"{key[:80]}…"
