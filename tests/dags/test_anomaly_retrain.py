"""The DAG in a real Airflow, which has an environment of its own; ours is only started by it."""

import ast
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from exporter.config.sections.models import ModelsConfig
from exporter.models import Store
from tests.conftest import StartPrometheus
from tests.support.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "python"
STEP = 60

needs_airflow = pytest.mark.skipif(
    not AIRFLOW.with_name("airflow").exists(), reason="no Airflow: make airflow makes the environment it needs"
)


def airflow(home: Path, *command: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run Airflow's Python with nothing of ours around it."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "ANOMALY_PYTHON": sys.executable,
    }
    environment |= {name: str(value) for name, value in settings.items()}
    return subprocess.run(
        [AIRFLOW, *map(str, command)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def told(home: Path, code: str, *arguments: object, **settings: object) -> Any:
    """Run Python code in Airflow's environment and return what it prints last, as JSON."""
    done = airflow(home, "-c", code, *arguments, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag()
(dag,) = bag.dags.values()
print(json.dumps({
    "errors": bag.import_errors,
    "ours": sorted(name for name in sys.modules if name.split(".")[0] in {"exporter", "detectors", "rules"}),
    "schedule": dag.timetable.expression, "runs": dag.max_active_runs, "catchup": dag.catchup,
    "tasks": {task.task_id: [type(task).__name__, task.retries, task.execution_timeout.total_seconds(), task.python,
                             sorted(task.upstream_task_ids)] for task in dag.tasks},
    "unchecked": [task.task_id for task in dag.tasks if task._pre_execute_hook is not sys.modules[
                  task.python_callable.__module__].check_interpreter],
}))
"""


@needs_airflow
def test_the_dag_parses_without_errors_and_imports_nothing_of_ours(tmp_path: Path) -> None:
    dag = told(tmp_path, PARSE, ANOMALY_CRON="17 4 * * 1", ANOMALY_PYTHON="/there/is/none")

    assert dag["errors"] == {}
    assert dag["ours"] == []
    assert dag["unchecked"] == []
    assert (dag["schedule"], dag["runs"], dag["catchup"]) == ("17 4 * * 1", 1, False)
    assert list(dag["tasks"]) == ["jobs", "retrain.train", "retrain.gate", "retrain.promote", "retrain.report"]
    for name, (kind, retries, seconds, python, before) in dag["tasks"].items():
        assert kind == "ExternalPythonOperator"
        assert python == "/there/is/none"
        assert seconds > 0
        assert retries == (0 if name == "jobs" else 2)
        if name != "jobs":
            assert "jobs" in before


CHECK = """
import importlib.util, json, sys
from airflow.sdk.exceptions import AirflowFailException
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
dag = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dag)
said = []
for dag.PYTHON in sys.argv[2:]:
    try:
        dag.check_interpreter({})
        said.append("")
    except AirflowFailException as error:
        said.append(str(error))
print(json.dumps(said))
"""


@needs_airflow
def test_an_interpreter_that_is_missing_or_without_our_package_is_said_at_once(tmp_path: Path) -> None:
    file = ROOT / "dags" / "anomaly_retrain.py"
    missing, without, good = told(tmp_path, CHECK, file, "/there/is/none", AIRFLOW, sys.executable)

    assert missing.startswith("no Python can be started at /there/is/none (No such file or directory): set ANOMALY_PYT")
    assert without.startswith(f"{AIRFLOW} has no anomaly-exporter, or cannot import it: set ANOMALY_PYTHON to ")
    assert good == ""


def history(end: int) -> list[str]:
    """Return two days of two metrics of eight instances each."""
    rng = np.random.default_rng(0)
    lines = []
    for metric in ("good_load", "bad_load"):
        lines.append(f"# TYPE {metric} gauge")
        for instance in "abcdefgh":
            lines += [
                f'{metric}{{instance="{instance}"}} {value:.4f} {when}'
                for when, value in zip(range(end - 2 * 86400, end, STEP), rng.normal(10, 1, 2880), strict=True)
            ]
    return lines


@pytest.fixture
def dag_file() -> dict[str, Callable[..., Any]]:
    """The functions that Airflow copies to our interpreter, with nothing from around them."""
    text = (ROOT / "dags" / "anomaly_retrain.py").read_text()
    names: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name in {"list_jobs", "run_stage"}:
            exec(f"from __future__ import annotations\n{ast.get_source_segment(text, node)}", names)
    return names


@pytest.fixture
def unanswered(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose Prometheus accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "anomaly.yml"
        prometheus = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}", "deadline": "1s"}
        jobs = {"api": {"expr": "load"}, "disk": {"expr": "used"}}
        models = {"path": str(tmp_path / "models")}
        config.write_text(yaml.safe_dump({"prometheus": prometheus, "models": models, "jobs": jobs}))
        yield config


def test_the_jobs_are_those_of_the_configuration(dag_file: dict[str, Callable[..., Any]], unanswered: Path) -> None:
    assert dag_file["list_jobs"](str(unanswered)) == ["api", "disk"]
    unanswered.write_text("jobs: {api: {exprr: load}}")
    with pytest.raises(Exception, match="exprr"):
        dag_file["list_jobs"](str(unanswered))


def test_a_stage_that_failed_says_why(dag_file: dict[str, Callable[..., Any]], unanswered: Path) -> None:
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1.*train again"):
        dag_file["run_stage"]("fit", "api", str(unanswered), minutes=5)
    with pytest.raises(RuntimeError, match="train --stage fit ended with 2"):
        dag_file["run_stage"]("fit", "other", str(unanswered), minutes=5)


def test_a_stage_that_takes_too_long_is_ended_with_all_it_has_started(
    dag_file: dict[str, Callable[..., Any]], unanswered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ten minutes are over, by a clock that jumps, once the command and its two processes run."""
    unanswered.write_text(unanswered.read_text().replace("1s", "5m") + "train: {shards: 2}\n")  # two processes
    monkeypatch.setenv("STARTED_BY_A_TEST", str(unanswered))
    real, running, most = time.monotonic, threading.Event(), 0
    monkeypatch.setattr(time, "monotonic", lambda: real() + 1000 * running.is_set())

    def watch() -> None:
        nonlocal most
        end = real() + PATIENCE
        while most < 3 and real() < end:
            most = max(most, len(started(unanswered)))
            time.sleep(0.1)
        running.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(RuntimeError, match=r"train --stage fit was stopped: it took longer than 10 minutes"):
        dag_file["run_stage"]("fit", "api", str(unanswered), minutes=10)
    watcher.join()
    assert most >= 3
    eventually(lambda: started(unanswered) == [])


def started(config: Path) -> list[int]:
    """Return the processes that a test has started for `config`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended meanwhile
            if f"STARTED_BY_A_TEST={config}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("stage", ["gate", "promote"])
def test_a_stage_without_anything_to_do_says_so_and_is_skipped(
    dag_file: dict[str, Callable[..., Any]], stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [{"outcome": "rejected", "reason": "2 of 9 faults found", "version": "000002"}]

    with pytest.raises(SystemExit) as ended:
        dag_file["run_stage"](stage, "api", "anomaly.yml", minutes=1, before=before)
    assert ended.value.code == 99
    assert capsys.readouterr().out == f"nothing to {stage}: job api was rejected: 2 of 9 faults found\n"


@pytest.mark.servers
@pytest.mark.slow
@needs_airflow
def test_a_run_promotes_what_passes_its_gate_and_reports_what_does_not(
    tmp_path: Path, prometheus: StartPrometheus
) -> None:
    server = prometheus(history=history(int(time.time()) // STEP * STEP))
    config = tmp_path / "anomaly.yml"
    deaf = {"robust": {"deviations": 1000}}  # notices nothing, and the gate notices that
    jobs = {"good": {"expr": "good_load", "detector": "robust"}, "bad": {"expr": "bad_load", "detector": deaf}}
    models = {"path": str(tmp_path / "models")}
    train = {"window": "2d", "gate": {"least_found": 0.2}}  # where the faults are put depends on the hour
    config.write_text(
        yaml.safe_dump({"prometheus": {"url": server.url}, "models": models, "train": train, "jobs": jobs})
    )
    home = tmp_path / "airflow"
    home.mkdir()
    migrated = airflow(home, "-m", "airflow", "db", "migrate")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr

    run = airflow(home, "-m", "airflow", "dags", "test", "anomaly_retrain", CONFIG_PATH=config, ANOMALY_RETRIES=0)

    assert run.returncode == 0, run.stdout + run.stderr
    with sqlite3.connect(home / "airflow.db") as database:
        rows = database.execute("select task_id, rendered_map_index, state from task_instance").fetchall()
    states = {(task.removeprefix("retrain."), job): state for task, job, state in rows}
    assert states == {
        ("jobs", None): "success",
        ("train", "good"): "success",
        ("gate", "good"): "success",
        ("promote", "good"): "success",
        ("report", "good"): "success",
        ("train", "bad"): "success",
        ("gate", "bad"): "success",
        ("promote", "bad"): "skipped",
        ("report", "bad"): "success",
    }
    store = Store(ModelsConfig(**models))
    assert store.current("good") is not None
    assert store.current("bad") is None
    assert "nothing to promote: job bad was rejected: " in run.stdout
