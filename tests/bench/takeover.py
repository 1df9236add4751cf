"""`python -m tests.bench.takeover`: seconds from the end of a leader to the first scores of the exporter that stood by.

Both exporters are real processes beside a real Prometheus; the API of Kubernetes is emulated.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from deploy.demo.servers import ExporterServer, PrometheusServer, backfill
from tests.bench.report import machine, say
from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.support.cluster import NAMESPACE, emulated, kubeconfig
from tests.support.target import Target
from tests.support.waiting import eventually


def scores(server: ExporterServer) -> bool:
    return bool(Page(server.url).get("anomaly_score"))


def gaps(source: PrometheusServer, leader: Mapping[str, Any], directory: Path) -> Iterator[tuple[str, float, float]]:
    """Yield how a leader ended, how long that took, and the seconds without scores after it."""
    for how in ("kill", "stop"):
        folder = directory / f"{next(iter(leader))}-{how}"
        settings = config(
            source, {"level": {"expr": "level", **QUICK}}, state={"path": f"{folder}/state"}, leader=leader
        )
        with ExitStack() as stack:
            first = stack.enter_context(ExporterServer(folder / "first", settings))
            eventually(lambda first=first: scores(first))
            second = stack.enter_context(ExporterServer(folder / "second", settings))
            began = time.monotonic()
            getattr(first, how)()
            ended = time.monotonic()
            eventually(lambda second=second: scores(second))
            yield how, ended - began, time.monotonic() - ended


def main() -> None:
    for line in machine():
        say(line)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Target() as target, emulated() as (cluster, url):
        directory = Path(name)
        (directory / "kubeconfig").write_text(kubeconfig(url))
        os.environ |= {"KUBECONFIG": str(directory / "kubeconfig"), "PYTHONPATH": str(Path(__file__).parents[2])}
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        target.series = {"a": 10.0, "b": 10.0}
        backfill(directory / "prometheus", list(history("ab")))
        with PrometheusServer(directory / "prometheus", scrape={"target": watching(target)}) as source:
            for leader in (
                {"file": str(directory / "leader.lock")},
                {"lease": "exporter", "namespace": NAMESPACE, "duration": "15s"},
            ):
                for how, took, gap in gaps(source, leader, directory):
                    say(f"{next(iter(leader))}, {how} (took {took:.1f} s): no scores for {gap:.1f} s after it")


if __name__ == "__main__":
    main()
