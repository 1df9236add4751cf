"""The configuration, YAML or JSON, base and profile."""

import atexit
import tempfile
from pathlib import Path

from exporter.config.load import ConfigError, load

OURS = (ConfigError,)
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-config")
atexit.register(_FOLDER.cleanup)
_EXAMPLES = Path(__file__).parents[3] / "examples"
SEEDS = (
    *(path.read_bytes() for path in sorted(_EXAMPLES.glob("*.yml")) if path.stat().st_size < 4096),
    b"jobs:\n  cpu:\n    expr: up{job=~\"a|b\"}\n    direction: above\n    budget: 1 per week\n    detector: {robust: {}}\n",
    b"prometheus: {url: 'http://u:p@x:1', bearer: {env: TOKEN}, deadline: 10s}\njobs: {a: {channels: {p99: a, rps: b}, entity: [x]}}\n",
    b'{"prometheus_url": "http://x", "metrics": ["up"], "contamination": 0.01, "window_minutes": 60, "step": "60s"}',
    b"jobs: &a {x: {expr: up}}\nalerting: *a\n",
    b"web: {listen: '[::]:9', users: {a: {file: b}}, config_file: c}\nnotify: {slack: {env: A}}\njobs: {a: {expr: up, history: 1e3}}\n",
)  # fmt: skip


def read(data: bytes) -> None:
    base, found, profile = data.partition(b"\n---profile---\n")
    path = Path(_FOLDER.name) / "anomaly.yml"
    path.write_bytes(base)
    (Path(_FOLDER.name) / "anomaly.dev.yml").write_bytes(profile)
    load(path, "dev" if found else None, {})
