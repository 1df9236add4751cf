"""Retrain the models of every job, as often as ANOMALY_CRON says: train → gate → promote → report (docs/airflow.md).

Nothing of anomaly-exporter is imported here: each task starts its command with the interpreter of ANOMALY_PYTHON, in an
environment of its own.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.python import ExternalPythonOperator
from airflow.sdk import DAG, Param, task_group
from airflow.sdk.exceptions import AirflowFailException

CRON = os.environ.get("ANOMALY_CRON", "0 3 * * *") or None  # None: only by hand
CONFIG = os.environ.get("CONFIG_PATH", "anomaly.yml")
PYTHON = os.environ.get("ANOMALY_PYTHON", sys.executable)
RETRIES = int(os.environ.get("ANOMALY_RETRIES", "2"))


def check_interpreter(_: Any) -> None:
    """Fail at once, with what to do, where our command cannot be started: trying again would not help."""
    wanted = "set ANOMALY_PYTHON to the python of the environment in which anomaly-exporter is installed"
    try:
        imports = "import anomaly_exporter, exporter.cli.main"
        found = subprocess.run([PYTHON, "-I", "-c", imports], capture_output=True, check=False)  # noqa: S603 - the administrator's own setting
    except OSError as error:
        raise AirflowFailException(f"no Python can be started at {PYTHON} ({error.strerror}): {wanted}") from None
    if found.returncode:
        raise AirflowFailException(f"{PYTHON} has no anomaly-exporter, or cannot import it: {wanted}")


def list_jobs(config: str) -> list[str]:
    """Return the jobs of a configuration. As `run_stage`, it runs where anomaly-exporter is."""
    import os
    from pathlib import Path

    import anomaly_exporter  # noqa: F401 - makes the next line possible where it is installed
    from exporter.config.load import load

    return list(load(Path(config), os.environ.get("ANOMALY_EXPORTER_PROFILE")).config.jobs)


def run_stage(stage: str, job: str, config: str, minutes: float, before: Any = None, force: str = "") -> Any:
    """Run one stage of `anomaly-exporter train` for a job; return what it says, one mapping for each of its shards.

    Airflow copies the text of this function to the other interpreter: it can use nothing from around it.
    """
    import json
    import os
    import signal
    import subprocess
    import sys
    import time

    command = [sys.executable, "-I", "-m", "anomaly_exporter", "train", "--json"]
    command += ["--config", config, "--job", job, "--stage", stage]
    if force == "True":
        command += ["--force"]
    if before is not None:
        waiting = {"gate": "candidate", "promote": "passed"}[stage]
        if all(each["outcome"] != waiting for each in before):
            said = "; ".join(f"{each['outcome']}: {each['reason']}" for each in before)
            sys.stdout.write(f"nothing to {stage}: job {job} was {said}\n")
            sys.exit(99)  # Airflow calls that skipped
        if len(before) == 1:  # of several shards each has its own: the newest that waits
            command += ["--version", before[0]["version"]]

    begun, parent = time.monotonic(), os.getppid()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:  # noqa: S603 - ours
        while True:
            try:
                output, _ = process.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                late = time.monotonic() - begun > 60 * minutes
                if late or os.getppid() != parent:  # Airflow ends its own process only
                    os.killpg(process.pid, signal.SIGKILL)
                    what = f"it took longer than {minutes:g} minutes" if late else "Airflow has ended the task"
                    raise RuntimeError(f"train --stage {stage} was stopped: {what}") from None
    outcomes = [json.loads(line) for line in output.splitlines()]
    sys.stdout.write(output)
    if process.returncode:  # a candidate that the gate has rejected is no failure
        reasons = [each["reason"] for each in outcomes if each.get("outcome") == "failed"]
        raise RuntimeError("; ".join(reasons) or f"train --stage {stage} ended with {process.returncode}: see above")
    return outcomes


OURS: dict[str, Any] = {"python": PYTHON, "expect_airflow": False, "pre_execute": check_interpreter}


def step(stage: str, minutes: float, **options: Any) -> ExternalPythonOperator:
    """Return the task of one stage; that of the first, which fits a candidate, is called train."""
    limits = {"config": CONFIG, "minutes": minutes}
    return ExternalPythonOperator(
        task_id="train" if stage == "fit" else stage,
        python_callable=run_stage,
        op_kwargs={"stage": stage, **limits, **options.pop("arguments")},
        skip_on_exit_code=99,
        map_index_template="{{ task.op_kwargs['job'] }}",
        # What really ends a stage is its own limit: Airflow would wait for the process it has started.
        execution_timeout=timedelta(minutes=minutes + 5),
        **OURS,
        **options,
    )


def retrain(job: str) -> None:
    """Lay out the tasks of one job."""
    train = step("fit", 240, arguments={"job": job, "force": "{{ params.force }}"})
    gate = step("gate", 120, arguments={"job": job, "before": train.output})
    promote = step("promote", 10, arguments={"job": job, "before": gate.output})
    # Rejected, or nothing due: there is nothing to promote, and the report says so. After a failure it does not run,
    # so that the run of the DAG ends as failed.
    report = step("report", 10, arguments={"job": job}, trigger_rule="none_failed")
    train >> gate >> promote >> report


with DAG(
    dag_id="anomaly_retrain",
    description="Train, gate, promote, report: the models of anomaly-exporter",
    doc_md=__doc__,
    schedule=CRON,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    params={"force": Param(False, type="boolean", description="Train even where it is not due.")},
    default_args={
        "retries": RETRIES,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
    },
    tags=["anomaly-exporter"],
):
    jobs = ExternalPythonOperator(
        task_id="jobs",
        python_callable=list_jobs,
        op_args=[CONFIG],
        retries=0,  # it reads the configuration only, which will not be another one in five minutes
        execution_timeout=timedelta(minutes=5),
        **OURS,
    )
    task_group(group_id="retrain")(retrain).expand(job=jobs.output)
