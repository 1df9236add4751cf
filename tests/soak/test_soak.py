"""A minute of `make soak`; its figures of a day are in docs/reliability.md."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.day import WINDOW, Life, day
from tests.soak.load import load, reloads
from tests.soak.source import Churning
from tests.soak.usage import growth


@pytest.mark.slow
def test_churn_reloads_and_kills_lose_no_row_and_leak_nothing(tmp_path: Path) -> None:
    """Rows 12, 23, 24, 31 and 54: two exporters on one source, one of them killed again and again."""
    told = day(tmp_path, cycles=60, series=40, churn=0.05, step=0.5, reload_every=12, kill_every=25)
    through, killed = [each for each in told if isinstance(each, Life)]
    assert (through.wrong, killed.wrong) == ([], [])
    assert (through.torn, through.missing, through.doubled) == (0, 0, 0)
    assert killed.kills
    assert killed.torn == 0
    if killed.slowest_start < WINDOW / 2:  # on a busier machine more has passed than it reads back
        assert killed.missing == 0
    assert through.reloads + through.refused == killed.reloads + killed.refused
    assert through.reloads
    assert through.refused
    descriptors, threads = ({getattr(each, name) for each in through.usage[1:]} for name in ("descriptors", "threads"))
    assert max(descriptors) - min(descriptors) <= 3, "connections of the source, and of whoever looks at the page"
    assert max(threads) - min(threads) <= 2


@pytest.mark.slow
def test_slow_clients_and_reloads_harm_no_scrape(tmp_path: Path) -> None:
    """Rows 31, 34, 36 and 37: `make load` has the figures; here no scrape fails, and none is of two configurations."""
    rows = [*load(tmp_path, series=200, seconds=3, clients=40), *reloads(tmp_path, count=8, seconds=8)]
    assert [row.rsplit("|", 2)[1].strip() for row in rows if " scrapers" in row or " in 8 s" in row] == ["0"] * 5


def test_a_kill_breaks_nothing_that_is_kept_and_no_changed_byte_is_taken() -> None:
    """Rows 24 and 25: a few of what `make kills` does, in a process of its own, since it forks."""
    command = [sys.executable, "-m", "tests.soak.kills", "--kills", "6", "--offsets", "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["model store", "state of a job", "answers, notices, incidents", "audit file"]
    assert sum(int(row[2]) for row in rows) >= 6, "hardly a kill hit a write: the test proves nothing"
    assert sum(int(row[5]) for row in rows) >= 300


def test_the_source_answers_every_range_in_the_same_way() -> None:
    source = Churning(series=20, churn=0.05, step=0.5)
    assert source.live(7) == {*range(10), *range(17, 27)}
    assert source.value(3, 7) == source.value(3, 7) < 12
    assert max(source.value(0, tick) for tick in range(300)) > 40


def test_growth_is_a_slope_in_mebibytes() -> None:
    assert growth([0, 500, 1000], [0, 2**20, 2**21]) == pytest.approx(2.0)
