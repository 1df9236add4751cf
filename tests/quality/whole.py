"""Promises of the default detector in whole: many kinds of series, the scenarios with fresh seeds, a mixed fleet."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.fleet.figures import Figures, figures
from tests.fleet.mixed import MixedFleet
from tests.fleet.run import make, run
from tests.quality import kinds

ROOT = Path(__file__).parents[2]
SCENARIOS, FLEET = "scenarios", "fleet"
Kept = tuple[int, int]
"""How many promises are kept, and how many there are."""


def tasks(seed: int) -> Iterator[tuple[str, Callable[[], Mapping[Any, Any]]]]:
    """Yield title and work of what is to be run; what is found has the keys that `promises` asks for."""
    for parts in kinds.of_one_length():
        yield f"kinds at {' and '.join(part.title for part in parts)}", partial(kinds.count, parts, seed)
    yield SCENARIOS, partial(scenarios, seed)
    yield FLEET, partial(fleet, seed)


def scenarios(seed: int) -> dict[str, Kept]:
    """Run the tests of the scenarios with other seeds than theirs. Raises RuntimeError where they do not run."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "tests/scenarios/test_two_weeks.py", f"--junit-xml={report}"]
        command.append("--timeout=0")  # a busy machine breaks no promise
        environment = os.environ | {"SCENARIO_SEED": str(seed + 1)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        suite = next(ET.parse(report).iter("testsuite")) if report.exists() else ET.Element("testsuite", errors="1")
    if int(suite.get("errors", 0)):
        raise RuntimeError(f"the scenarios did not run: {done.stdout[-300:]}")
    count = int(suite.get("tests", 0))
    return {SCENARIOS: (count - int(suite.get("failures", 0)), count)}


def fleet(seed: int) -> dict[str, Figures]:
    """Run a fleet of many shapes with ten failures a week."""
    mixed = MixedFleet(entities=300, group=30, step=300.0, warm_up=2.0, weeks=2.0, incidents=20, seed=seed)
    return {FLEET: figures(mixed, run(make(mixed.step), mixed.keys, mixed.values()))}


def promises(found: Mapping[Any, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield what is promised, how many times it is kept, and of how many."""
    if SCENARIOS in found:
        yield "scenarios of two weeks, seeds of their own", *found[SCENARIOS]
    if FLEET in found:
        seen: Figures = found[FLEET]
        failures = "failures (-80 %, -50 %, +300 %, zero) among 300 series of many kinds"
        yield f"{failures}: alerted within 60 minutes", seen.alerted_soon, seen.failures
        yield f"{failures}: alerted at all", seen.alerted, seen.failures
        yield "failing groups of that fleet seen in two cycles", seen.groups_found, seen.groups_failed
        few = seen.chance_alerts_per_week <= 2.0
        yield f"at most two alerts a week by chance in that fleet ({seen.chance_alerts_per_week:.1f})", int(few), 1
