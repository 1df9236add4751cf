"""The benchmark's side of other processes: contenders, curl and the exporter itself."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from deploy.demo.servers import PrometheusServer, free_port, get
from tests.bench.report import ROOT

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class _Child(AbstractContextManager["_Child"]):
    """A Python child process whose log is shown only when it fails."""

    def __init__(self, *arguments: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env=os.environ | ONE_THREAD,
        )

    def fail(self, what: str) -> None:
        self._log.seek(0)
        raise SystemExit(f"{what}; its log ends with:\n{self._log.read()[-3000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()
        self._log.close()


class Contender(_Child):
    """A `contender` process: `ask` sends one request and waits for its answer."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__("-m", "tests.bench.contender", kind, json.dumps(options))
        self._kind = kind

    def __enter__(self) -> Self:
        return self

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.fail(f"the {self._kind} process ended")
        return json.loads(answer)


class RunningExporter(_Child):
    """`anomaly-exporter run` with one job on `expr`."""

    def __init__(self, url: str, expr: str, detector: str, directory: Path, port: int | None = None) -> None:
        self.address = f"127.0.0.1:{port or free_port()}"
        config = {
            "prometheus": {"url": url, "deadline": "2m"},
            "limits": {"series": 1_000_000},
            "jobs": {"bench": {"expr": expr, "detector": detector, "publish": ["lower", "upper"]}},
            "web": {"listen": self.address},
        }
        path = directory / "anomaly.yml"
        path.write_text(yaml.safe_dump(config))
        self.began = time.monotonic()
        super().__init__("-m", "exporter", "run", "--config", str(path))

    def __enter__(self) -> Self:
        return self

    def first_page(self, within: float = 180.0) -> tuple[float, bytes]:
        """Wait for the first page with scores; return the seconds since the process was started, and the page."""
        while time.monotonic() < self.began + within:
            if self._process.poll() is not None:
                self.fail("the exporter ended")
            try:
                if get(f"http://{self.address}/-/ready").ok:
                    page = self.page()
                    if b"\nanomaly_score{" in page:
                        return time.monotonic() - self.began, page
            except requests.ConnectionError:
                pass
            time.sleep(0.02)
        self.fail(f"no page within {within:.0f}s")
        raise AssertionError

    def page(self) -> bytes:
        """Scrape the page, compressed on the way as Prometheus asks for it."""
        return get(f"http://{self.address}/metrics", timeout=60).content

    @property
    def pid(self) -> int:
        return self._process.pid


def curl(server: PrometheusServer, expr: str, at: float) -> float:
    """Return the seconds that curl needs for the query of one cycle."""
    query = ["--data-urlencode", f"query={expr}", "-d", f"start={at:.0f}&end={at:.0f}&step=60"]
    began = time.perf_counter()
    subprocess.run(
        ["curl", "-sf", "--noproxy", "*", "-o", os.devnull, *query, f"{server.url}/api/v1/query_range"], check=True
    )
    return time.perf_counter() - began


def answer(server: PrometheusServer, expr: str, start: float, end: float) -> bytes:
    """Return the body of the answer to a range query."""
    with requests.Session() as session:
        session.trust_env = False
        form = {"query": expr, "start": f"{start:.0f}", "end": f"{end:.0f}", "step": "60"}
        body = session.post(f"{server.url}/api/v1/query_range", data=form, timeout=120)
    body.raise_for_status()
    return body.content


def series(body: bytes) -> dict[str, list[float]]:
    """Return the values of each series in an answer, by pod."""
    result = json.loads(body)["data"]["result"]
    return {each["metric"]["pod"]: [float(value) for _, value in each["values"]] for each in result}
