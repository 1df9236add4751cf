"""Answers of the metadata API, which tell names and types of metrics."""

from types import SimpleNamespace

from exporter.config.sections.root import Config
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

OURS = (SourceError,)
SEEDS = (
    b'{"status":"success","data":["up","node_load1"]}\x00{"status":"success","data":{"up":[{"type":"gauge","help":"a","unit":""}]}}',
    b'{"status":"success","data":[]}\x00{"status":"success","data":{}}',
    b'{"data":' + b"[" * 2000,
)
_CONFIG = Config.model_validate({"jobs": {"a": {"expr": "up"}}})


def read(data: bytes) -> None:
    names, _, known = data.partition(b"\0")
    source = Prometheus(_CONFIG.prometheus, _CONFIG.limits)
    source._session.attempt = lambda _method, url: SimpleNamespace(content=known if url.endswith("metadata") else names)  # type: ignore[method-assign]
    for name, kind, about in source.metrics():
        assert all(isinstance(each, str) for each in (name, kind, about))
