"""SIGKILL at any moment, every byte changed, every length cut off: `python -m tests.soak.kills [--kills 500]`.

Row 24: what is read back after a kill is what was there before or after the write it hit. Row 25: no changed byte and
no shorter file is taken for what was written.
"""

import argparse
import csv
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import structlog

from exporter.atomic_files import TooLarge, read_once
from exporter.config.sections.models import ModelsConfig
from exporter.models.errors import ModelRefused
from exporter.models.store import Store
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.state_files import StateFolder
from exporter.sinks import checked_json
from exporter.sinks.rotating_csv import CsvFile
from tests.pipeline.test_cycle import Bench
from tests.support.every_detector import judged_by
from tests.support.fake import DIGESTS

_HEADER: Final = b"number,text\n"
_ROWS: Final = 20


class Kept(msgspec.Struct):
    """A file of ours in JSON."""

    number: int = 0
    texts: list[str] = []


class Place(NamedTuple):
    """Something that is written again and again, with a number that grows, and read back after a kill."""

    name: str
    write: Callable[[int], None]
    read: Callable[[], int]
    """Returns the number of what is there. Raises where it is no whole."""
    files: Callable[[], Sequence[Path]]
    """What a changed byte must be noticed in."""


def models(folder: Path) -> Place:
    """Return the model store."""
    config, args = ModelsConfig(path=folder), ("job", "robust", {}, ("value",))

    def write(number: int) -> None:
        state = {"value": np.full(2_000, float(number))}
        Store(config).save(*args, state, trained_from=0, trained_to=number, fingerprint=str(number))

    def read() -> int:
        state, manifest = Store(config).load(*args)
        assert (state["value"] == manifest.trained_to).all(), "parts of two models"
        return int(manifest.trained_to)

    def files() -> list[Path]:
        newest = max((each for each in (folder / "job").iterdir() if each.is_dir()), key=lambda each: each.name)
        found = [*newest.iterdir(), *(folder / "job").iterdir()]
        return [each for each in found if each.is_file() and each.stat().st_size and "lock" not in each.name]

    return Place("model store", write, read, files)


def state(folder: Path) -> Place:
    """Return the state of a job."""
    bench = Bench(**judged_by("robust"), history="1h")
    for name in "ab":
        bench.source.put("q", {"i": name}, {60.0 * minute: float(minute % 7) for minute in range(10_000)})
    bench.cycle(60)
    place = StateFolder(folder, list)

    def write(number: int) -> None:
        bench.cycle(60 + number)
        place.save(bench.job)

    def read() -> int:
        fresh = Job(JobSettings("job", bench.config, DIGESTS), bench.source)
        assert place.restore(fresh), "refused"
        return round((fresh.judged - 3600.0) / 60.0)

    return Place("state of a job", write, read, lambda: sorted(folder.glob("*.state")))


def answers(folder: Path) -> Place:
    """Return a file like the answers of people, the notices sent and the incidents."""
    file = folder / "kept.json"

    def write(number: int) -> None:
        said = checked_json.keep(file, Kept(number, [str(number)] * 200), "", "not_kept", "hint")
        assert not said, said

    def read() -> int:
        found = checked_json.decode(read_once(file, 2**20), Kept)
        assert set(found.texts) == {str(found.number)}, "parts of two files"
        return found.number

    return Place("answers, notices, incidents", write, read, lambda: [file])


def audit(folder: Path) -> Place:
    """Return an audit file, which is rotated every few writes."""
    file = folder / "audit.csv"

    def write(number: int) -> None:
        rows = b"".join(b'%d,"%d of %d"\n' % (number, row, _ROWS) for row in range(_ROWS))
        CsvFile(file, _HEADER, 8192, 3).append(rows)

    def read() -> int:
        CsvFile(file, _HEADER, 8192, 3).append(b"")  # repairs the last line, as a start does
        newest = 0
        for path in (file, *folder.glob("audit.csv.*[0-9]")):
            rows = list(csv.reader(path.read_text().splitlines()))
            assert rows[:1] == [["number", "text"]] or not rows, f"another header: {rows[:1]}"
            assert all(len(row) == 2 and row[1].endswith(f" of {_ROWS}") for row in rows[1:]), "a torn row"
            newest = max([newest, *(int(row[0]) for row in rows[1:])])
        return newest

    return Place("audit file", write, read, list)


def killed(place: Place, kills: int, chance: random.Random) -> tuple[int, int]:
    """Kill a writer so many times; return how many kills hit a write, and how many writes were taken back."""
    begun = time.perf_counter()
    for number in range(1, 6):
        place.write(number)
    each = (time.perf_counter() - begun) / 5
    newest, hits, lost = 5, 0, 0
    inside, begins = os.pipe()
    for _ in range(kills):
        child = os.fork()
        if not child:
            number = newest
            while True:
                number += 1
                os.write(begins, b"(")
                place.write(number)
                os.write(begins, b")")
        assert os.read(inside, 1) == b"("
        time.sleep(chance.uniform(0, 3 * each))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.set_blocking(inside, False)
        told = b"("
        while piece := _read(inside):
            told += piece
        os.set_blocking(inside, True)
        hits += told.endswith(b"(")
        complete = newest + told.count(b")")
        found = place.read()
        assert found <= complete + 1, f"{found} was never written"
        lost += max(complete - found, 0)
        newest = found
    os.close(inside)
    os.close(begins)
    return hits, lost


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""


def changed(place: Place, most: int, chance: random.Random) -> tuple[int, int]:
    """Change bytes and cut files off, at `most` offsets of each; return how many were tried and accepted."""
    place.write(1)
    place.write(2)
    tried = accepted = 0
    for file in place.files():
        good = file.read_bytes()
        offsets = range(len(good)) if len(good) <= most else sorted(chance.sample(range(len(good)), most))
        for at in offsets:
            for bad in (good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :], good[:at]):
                file.write_bytes(bad)
                tried += 1
                try:
                    place.read()
                except (ModelRefused, AssertionError, ValueError, TooLarge, OSError):
                    continue
                accepted += 1
        file.write_bytes(good)
        assert place.read() == 2
    return tried, accepted


def table(kills: int, offsets: int) -> Iterator[str]:
    """Yield what became of each place."""
    chance = random.Random(24)
    yield "| place | kills | in a write | broken | writes lost | bytes changed, files cut | accepted |\n|-|-|-|-|-|-|-|"
    for make in (models, state, answers, audit):
        with tempfile.TemporaryDirectory(prefix="kills") as folder, structlog.testing.capture_logs():
            (at := Path(folder) / "kills").mkdir()
            hits, lost = killed(make(at), kills, chance)
            (at := Path(folder) / "changes").mkdir()
            place = make(at)
            tried, accepted = changed(place, offsets, chance)
            yield f"| {place.name} | {kills} | {hits} | 0 | {lost} | {tried:,} | {accepted} |"
            assert not accepted
            assert not lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.soak.kills")
    parser.add_argument("--kills", type=int, default=500, help="of each place (default: 500)")
    parser.add_argument("--offsets", type=int, default=4096, help="of each file (default: 4,096, or all)")
    asked = parser.parse_args()
    for row in table(asked.kills, asked.offsets):
        print(row, flush=True)


if __name__ == "__main__":
    main()
