"""The generated dashboards, and their queries as Grafana sends them."""

import json
import re
from collections.abc import Iterator
from typing import Any

from exporter.config.sections.root import Config
from rules.generate import generate

SHOWN = ("anomalies", "exporter-health")


def dashboard(name: str, **changes: Any) -> dict[str, Any]:
    """Return a generated dashboard; `changes` are keys of the configuration."""
    config = Config.model_validate({"jobs": {"cpu": {"expr": "up"}}, **changes})
    made: dict[str, Any] = json.loads(generate(config)[f"dashboards/{name}.json"])
    return made


def targets(shown: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the title of a panel and one of its queries, annotations included."""
    for panel in shown["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target
    for annotation in shown.get("annotations", {}).get("list", ()):
        yield f"annotation {annotation['name']}", {**annotation, "range": True}


def asked(expr: str, **variables: str) -> str:
    """Return an expression as Grafana sends it; a variable that is not there stays, and then nothing parses it."""
    known = {"__rate_interval": "5m", "__range": "1h", "query": ".*", "label": "instance", "value": ".*"}
    known |= {"entity:raw": 'instance="a",query="api"', "channel": "p99", **variables}
    return re.sub(r"\$(?:\{([^}]+)\}|(\w+))", lambda match: known.get(match[1] or match[2], match[0]), expr)
