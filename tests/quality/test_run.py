"""A run as `make quality` makes it, of what takes seconds: with the judges of the folder beside this repository."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quality.__main__ import PAGE, ROOT, tasks
from tests.quality.contestants import NAMES
from tests.quality.table import read_table

DATA = ROOT.parent / "shared" / "quality"
RULE = "PromQL mean ± 2 sigma"
needs_data = pytest.mark.skipif(not (DATA / "sensitivity.py").is_file(), reason="no ../shared/quality beside this")


def run(*words, data=DATA, page):
    command = [sys.executable, "-m", "tests.quality", data, *words, "--page", page]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def page(tmp_path):
    return Path(shutil.copy(PAGE, tmp_path))


@needs_data
def test_a_run_renews_its_cells_and_keeps_all_others(page):
    before = read_table(page.read_text(), "quality")
    done = run("--only", RULE, "--sets", "msft", "sensitivity", "--seeds", "1", "--seed", "5", page=page)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 5;")
    after = read_table(page.read_text(), "quality")
    measured = after.pop(RULE)
    assert after == {name: cells for name, cells in before.items() if name != RULE}
    assert re.fullmatch(r"\d\.\d\d \(\d\.\d\d\) at \d+\.\d\d", measured["msft: found (by luck) at incidents/week"])
    assert 0 < float(measured["found, of the oracle's"]) < 1.2
    assert float(measured["band ÷ oracle's"]) > 0
    assert measured["µs per series and sample"] == "-"


def test_a_folder_without_the_judges_is_said(page, tmp_path):
    done = run("--sets", "msft", data=tmp_path, page=page)
    assert done.returncode != 0
    assert "make quality: there is no" in done.stderr
    assert "DATA=" in done.stderr


def test_every_contestant_has_a_task_and_only_those_asked_for():
    every = list(tasks([*NAMES], ["nab", "cost"], DATA, None, Path("out")))
    assert {task.owner for task in every} == set(NAMES)
    assert [task.title for task in tasks(["auto"], ["asd"], DATA, None, Path("out"))] == ["auto on asd"]
