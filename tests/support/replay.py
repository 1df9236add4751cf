"""Recorded, labelled series through a detector as the cycle would judge them; scores for the judge of `quality`."""

import csv
import gzip
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detectors import Batch, Detector, Flags, Floats, make
from exporter.decide import Incidents

WEEK = 604_800.0


def replay(detector: Detector, history: Batch, hold: bool = True) -> tuple[Floats, Flags]:
    """Judge, decide and learn sample after sample; return scores and flags, shape (E, T)."""
    entities, _, samples = history.values.shape
    step = float(history.times[1] - history.times[0])
    incidents = Incidents(step, open_after=1, clear_after=300.0, max_hold=86_400.0)
    score, flag = np.full((entities, samples), np.nan), np.zeros((entities, samples), np.bool_)
    nothing = np.zeros(entities, np.bool_)
    for end in range(1, samples + 1):
        first = max(end - 2, 0)
        part = Batch(history.keys, history.channels, history.times[first:end], history.values[:, :, first:end])
        score[:, end - 1] = detector.score(part).score
        decided = incidents.decide(history.keys, score[:, end - 1], float(part.times[-1]), step)
        flag[:, end - 1] = decided.flag
        held, adopted = (decided.flag, decided.adopted) if hold else (nothing, nothing)
        detector.update(part.last(1), held, adopted)
    return score, flag


@dataclass
class Recording:
    """One file: timestamps as written, samples on the grid of the median step, the cell each row lies in."""

    name: str
    written: list[str]
    step: float
    start: float
    cells: np.ndarray
    values: Floats  # (C, T)

    @classmethod
    def read(cls, path: Path) -> "Recording":
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            header, *rows = list(csv.reader(file))
        channels = [n for n, name in enumerate(header) if name not in ("timestamp", "label")]
        at, written = header.index("timestamp"), [row[header.index("timestamp")] for row in rows]
        moments = [datetime.fromisoformat(row[at]) for row in rows]
        seconds = np.array([m.replace(tzinfo=m.tzinfo or UTC).timestamp() for m in moments])
        step = float(np.median(np.diff(seconds)))
        start = float(round(seconds.min() / step) * step)
        cells = np.round((seconds - start) / step).astype(int)
        values = np.full((len(channels), cells.max() + 1), np.nan)
        for cell, row in zip(cells, rows, strict=True):
            values[:, cell] = [float(row[n] or "nan") for n in channels]
        return cls(path.name.split(".csv")[0], written, step, start, cells, values)


def together(recordings: list[Recording]) -> tuple[Batch, list[int]]:
    """Put recordings of one step and number of channels side by side, each moved by whole weeks; return the offsets."""
    step = recordings[0].step
    offsets = [round(r.start % WEEK / step) for r in recordings]
    size = max(o + r.values.shape[1] for o, r in zip(offsets, recordings, strict=True)) - min(offsets)
    offsets, begin = [o - min(offsets) for o in offsets], min(offsets) * step
    channels = recordings[0].values.shape[0]
    values = np.full((len(recordings), channels, size), np.nan)
    for row, (offset, r) in enumerate(zip(offsets, recordings, strict=True)):
        values[row, :, offset : offset + r.values.shape[1]] = r.values
    keys = tuple(((("file", r.name)),) for r in recordings)
    times = 2600 * WEEK + begin + step * np.arange(size)
    return Batch(keys, tuple(f"c{n}" for n in range(channels)), times, values), offsets


def write(folder: Path, spec: str, data: Path, hold: bool = True) -> None:
    """Judge every file of `data` and write <name>.csv with timestamp, score and flag into `folder`."""
    groups = defaultdict(list)
    for path in sorted(data.glob("*.csv*")):
        r = Recording.read(path)
        groups[(r.step, r.values.shape[0])].append(r)
    for group in groups.values():
        batch, offsets = together(group)
        score, flag = replay(make(spec, 60), batch, hold)
        for row, (r, offset) in enumerate(zip(group, offsets, strict=True)):
            with (folder / f"{r.name}.csv").open("w", newline="") as file:
                lines = csv.writer(file)
                lines.writerow(("timestamp", "score", "flag"))
                for written, cell in zip(r.written, r.cells + offset, strict=True):
                    known = np.isfinite(score[row, cell])
                    lines.writerow((written, score[row, cell] if known else "", int(flag[row, cell])))


if __name__ == "__main__":
    target = Path(sys.argv[3])
    target.mkdir(parents=True, exist_ok=True)
    write(target, sys.argv[1], Path(sys.argv[2]), hold="--no-hold" not in sys.argv)
