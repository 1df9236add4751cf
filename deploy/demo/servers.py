"""Prometheus, Alertmanager, node_exporter and the exporter as child processes, for the demo and the tests."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from deploy.demo import process
from deploy.demo.history import backfill, openmetrics
from deploy.demo.process import PACKAGES, Server, ServerError, command, free_port, get, missing_servers

__all__ = [
    "ITSELF",
    "AlertmanagerServer",
    "ExporterServer",
    "NodeExporterServer",
    "PrometheusServer",
    "Server",
    "ServerError",
    "backfill",
    "command",
    "free_port",
    "get",
    "missing_servers",
    "openmetrics",
]

ITSELF: Final = "itself"
"""Scrape target that means the address of the Prometheus server itself."""


class PrometheusServer(Server):
    """A Prometheus that keeps data for years, so that backfilled history and live scrapes coexist.

    The first scrape comes five seconds after the start, at any interval: Prometheus waits for its service discovery.

    Parameters
    ----------
    directory : Path
        As for `Server`; the blocks are in `directory/data`, see `backfill`.
    config : str or mapping, optional
        The whole configuration file. By default it is built from the other parameters.
    scrape : mapping of str to str or mapping
        Job name to target (`host:port`, or `ITSELF`), or to a whole scrape config without its `job_name`.
        `honor_labels` is set, which the exporter needs.
    interval : str
        Scrape and evaluation interval.
    rules : sequence of Path
        Rule files.
    alertmanager : str, optional
        `host:port` of the Alertmanager.
    """

    name = "prometheus"
    ready_path = "/-/ready"
    commands = ("prometheus",)

    def __init__(
        self,
        directory: Path,
        config: str | Mapping[str, Any] | None = None,
        *,
        scrape: Mapping[str, str | Mapping[str, Any]] | None = None,
        interval: str = "1s",
        rules: Sequence[Path] = (),
        alertmanager: str | None = None,
        flags: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        super().__init__(directory, flags=flags, port=port)
        self.config = config
        self.scrape = dict(scrape or {})
        self.interval = interval
        self.rules = tuple(rules)
        self.alertmanager = alertmanager

    def arguments(self) -> list[str]:
        """Write the configuration and return the flags."""
        self.write_config()
        return [
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            "--storage.tsdb.retention.time=20y",
            f"--web.listen-address={self.address}",
            "--web.enable-lifecycle",
        ]

    def write_config(self) -> None:
        """Write the configuration file; `reload` makes a running server read it."""
        config = self._made_config() if self.config is None else self.config
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
        (self.directory / "prometheus.yml").write_text(text)

    def reload(self) -> None:
        """Write the configuration and make the running server read it. Raises ServerError."""
        self.write_config()
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self.url}/-/reload", timeout=process.ANSWER_WITHIN)
        if not answer.ok:
            raise ServerError(f"prometheus refused its configuration: {answer.text.strip()}")

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return the instant vector of `expr` at `at` (Unix seconds, default now). Raises ServerError.

        Each element has the series' labels in `metric` and `[time, text]` in `value`.
        """
        parameters = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        try:
            answer = get(f"{self.url}/api/v1/query", timeout=process.ANSWER_WITHIN, **parameters)
            body = json.loads(answer.text)
        except (requests.RequestException, ValueError) as error:
            raise ServerError(f"prometheus does not answer {expr!r}: {error}") from error
        if body["status"] != "success":
            raise ServerError(f"prometheus refuses {expr!r}: {body['error']}")
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    def wait_for(self, expr: str, within: float = 120.0) -> list[dict[str, Any]]:
        """Ask `expr` until it has a result. Raises ServerError after `within` seconds."""
        end = time.monotonic() + within
        while not (result := self.query(expr)):
            if time.monotonic() > end:
                raise ServerError(f"{expr!r} has no result after {within:.0f}s; its log:\n{self.log_tail()}")
            time.sleep(0.05)
        return result

    def _made_config(self) -> dict[str, Any]:
        def job(name: str, target: str | Mapping[str, Any]) -> dict[str, Any]:
            if not isinstance(target, str):
                return {"job_name": name, **target}
            address = self.address if target == ITSELF else target
            return {"job_name": name, "honor_labels": True, "static_configs": [{"targets": [address]}]}

        made: dict[str, Any] = {
            "global": {
                "scrape_interval": self.interval,
                "scrape_timeout": self.interval,
                "evaluation_interval": self.interval,
            },
            "rule_files": [str(path) for path in self.rules],
            "scrape_configs": [job(name, target) for name, target in self.scrape.items()],
        }
        if self.alertmanager is not None:
            made["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [self.alertmanager]}]}]}
        return made


class AlertmanagerServer(Server):
    """An Alertmanager without cluster, with the given configuration (default: one receiver that drops everything)."""

    name = "alertmanager"
    ready_path = "/-/ready"
    commands = PACKAGES["prometheus-alertmanager"]

    def __init__(
        self,
        directory: Path,
        config: str | Mapping[str, Any] | None = None,
        *,
        flags: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        super().__init__(directory, flags=flags, port=port)
        self.config = config or {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}

    def arguments(self) -> list[str]:
        """Write the configuration and return the flags."""
        text = self.config if isinstance(self.config, str) else yaml.safe_dump(dict(self.config), sort_keys=False)
        (self.directory / "alertmanager.yml").write_text(text)
        return [
            f"--config.file={self.directory / 'alertmanager.yml'}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]


class NodeExporterServer(Server):
    """A node_exporter with this host's metrics."""

    name = "node_exporter"
    ready_path = "/"
    commands = PACKAGES["prometheus-node-exporter"]

    def arguments(self) -> list[str]:
        """Return the flags."""
        return [f"--web.listen-address={self.address}"]


class ExporterServer(Server):
    """`anomaly-exporter run` on loopback; ready after its first cycle.

    Parameters
    ----------
    directory : Path
        Holds configuration and log.
    config : mapping
        The configuration; `web.listen` is replaced by a free port.
    port : int, optional
        As for `Server`.
    """

    name = "exporter"
    ready_path = "/-/ready"

    def __init__(self, directory: Path, config: Mapping[str, Any], *, port: int | None = None) -> None:
        super().__init__(directory, port=port)
        self.config = dict(config)

    def executable(self) -> list[str]:
        """Return this interpreter, running the exporter."""
        return [sys.executable, "-m", "anomaly_exporter", "run"]

    def arguments(self) -> list[str]:
        """Write the configuration and return the flags."""
        file = self.directory / "anomaly.yml"
        file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return ["--config", str(file), "--listen", self.address]
