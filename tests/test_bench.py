"""The benchmarks run to their end and write what they promise; what they measure is nobody's promise here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = {
    "verdict_wall_vs_curl",
    "cycle_wall_vs_curl",
    "own_cpu_per_series_vs_naive",
    "decode_vs_json",
    "page_vs_prometheus_client",
    "half_space_trees_vs_river",
    "isolation_vs_sklearn",
    "workbench_move_vs_anew",
    "first_page_10k_vs_200",
    "incremental_vs_full_window",
    "own_cpu_seconds_1k",
    "own_cpu_seconds_10k",
    "own_cpu_seconds_100k",
    "own_cpu_seconds_100k_auto",
    "rss_mib_100k",
    "rss_mib_100k_auto",
    "cold_start_seconds_100k",
    "process_cpu_seconds_per_minute_100k",
}


@pytest.mark.servers
@pytest.mark.slow
def test_the_bench_writes_every_row_with_what_is_compared_and_its_quality(servers, tmp_path):
    path = tmp_path / "build" / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--output", str(path)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(path.read_text())
    assert {row["name"] for row in rows} == NAMES
    assert len(rows) == len(NAMES)
    for row in rows:
        assert list(row) == ["name", "value", "unit", "ours", "other", "quality"]
        assert row["value"] >= 0  # a second of service may be less than one tick of CPU
        assert all(isinstance(row[field], str) and row[field] for field in ("unit", "ours", "other", "quality"))
    shown = path.with_suffix(".md").read_text()
    assert all(f"| {name} |" in shown for name in NAMES)
    assert "Python" in shown
    assert "prometheus" in shown


@pytest.mark.servers
@pytest.mark.slow
def test_the_bench_of_a_warm_up_compares_the_states_too(servers, tmp_path):
    path = tmp_path / "bench-warm-up.json"
    command = [sys.executable, "-m", "tests.bench.warm_up", "--quick", "--output", str(path)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["quality"] for row in json.loads(path.read_text())] == ["same state to the bit", "every sample judged"]


@pytest.mark.slow
def test_the_bench_of_spreading_compares_the_models_too(tmp_path):
    path = tmp_path / "bench-spread.json"
    command = [sys.executable, "-m", "tests.bench.spread", "--quick", "--output", str(path)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["quality"] for row in json.loads(path.read_text())] == ["same models"] * 2 + ["same verdicts"] * 2


def test_a_row_whose_result_is_wrong_fails_the_bench_after_everything_was_written(tmp_path, capsys):
    from tests.bench.report import Row, finish

    good = Row("good", 12.3, "x", "1 s: ours", "12.3 s: theirs", "equal")
    wrong = Row("bad", 99.0, "x", "1 s: ours", "99 s: theirs", "not equal", wrong="the pages differ")
    assert finish([good], tmp_path / "good.json") == 0
    assert finish([good, wrong], tmp_path / "both.json") == 1
    assert [row["name"] for row in json.loads((tmp_path / "both.json").read_text())] == ["good", "bad"]
    assert "bad: the quality check failed: the pages differ" in capsys.readouterr().out


def test_slow_originals_tell_a_wrong_score_from_a_right_one():
    from tests.bench.quality import forest_score, rank_agreement, robust_score

    assert robust_score([1.0, 2.0, 3.0, 4.0, 5.0, 3.0 + 6 * 1.4826]) == pytest.approx(1.0)
    calm, spike = [float(n % 7) for n in range(60)], [float(n % 7) for n in range(59)] + [50.0]
    assert forest_score(spike) > forest_score(calm)
    assert rank_agreement([1, 2, 3], [10, 20, 30]) == 1.0
    assert rank_agreement([1, 2, 3], [30, 20, 10]) == -1.0


def test_medians_are_of_rounds_in_turns():
    from tests.bench.report import alternate

    order = []

    def contender(name, times):
        return lambda: order.append(name) or times.pop(0)

    assert alternate(contender("a", [1.0, 9.0, 2.0]), contender("b", [5.0, 4.0, 6.0]), 3) == (2.0, 5.0)
    assert "".join(order) == "abbaab"


@pytest.mark.parametrize(
    ("value", "text"), [(12.345, "12.3 s"), (0.0481, "48.1 ms"), (2.1e-6, "2.1 µs"), (8.2e-7, "820 ns")]
)
def test_times_are_short_to_read(value, text):
    from tests.bench.report import seconds

    assert seconds(value) == text
