"""The exporter as a child process."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.demo.process import Server


class ExporterServer(Server):
    """`anomaly-exporter run` on loopback; ready after its first verdict.

    Parameters
    ----------
    directory : Path
        Holds configuration and log.
    config : mapping
        The configuration; a free port takes the place of its `web.listen`.
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
        return [sys.executable, "-m", "exporter", "run"]

    def arguments(self) -> list[str]:
        """Write the configuration and return the flags."""
        file = self.directory / "anomaly.yml"
        file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return ["--config", str(file), "--listen", self.address]
