"""An emulated cluster, and configurations to deploy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.kubernetes import Cluster, Settings, settings_of
from exporter.config.load import load
from tests.support.cluster import CONFIG, Emulator, client, emulated

Planned = Callable[..., Settings]


@pytest.fixture
def cluster() -> Iterator[tuple[Emulator, Cluster]]:
    with emulated() as (emulator, url):
        yield emulator, client(url)


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Return the settings of a configuration: `planned(text, profile=None, **choices)`."""

    def plan(text: str = CONFIG, profile: str | None = None, **choices: Any) -> Settings:
        (tmp_path / "anomaly.yml").write_text(text)
        return settings_of(load(tmp_path / "anomaly.yml", profile, {}), profile, **choices)

    return plan
