"""Objects of Kubernetes in which teams declare jobs, as JSON from the API server."""

import json

from exporter.config.declared import declared
from exporter.config.declared_objects import LARGEST, declaration
from exporter.config.sections.root import Config
from exporter.json_values import from_json
from tests.support.declared import config_map, grafana_rule, prometheus_rule

OURS = (ValueError,)
CONFIG = Config.model_validate({"discover": {"rules": True, "anomaly_names": True}})
_TEXT = (
    "jobs:\n  a: {expr: 'sum by (pod) (rate(x[5m]))', detector: {robust: {deviations: 4}}, alert: {severity: page}}\n"
    '  b: {channels: {p: \'a{namespace="shop"}\', q: "b or c"}, group: [pod], entity: [pod]}\n'
)
SEEDS = tuple(
    json.dumps(made).encode()
    for made in (
        config_map("shop", _TEXT),
        config_map("shop", "jobs: {a: {expr: 'up{namespace=\"bank\"}', step: 1s, budget: 9}}"),
        prometheus_rule("shop", grafana_rule("requests", "adaptive"), annotation=_TEXT),
    )
)


def read(data: bytes) -> None:
    made = from_json(data)
    if not isinstance(made, dict) or CONFIG.discover is None:
        return
    each = declaration(made, CONFIG.discover)
    if each is None:
        return
    assert sum(len(text) for _, text in each.texts) <= LARGEST
    found = declared([each], CONFIG)
    for name, job in found.jobs.items():
        assert name.startswith(f"{each.namespace}:")
        for expr in job.queries.values():
            assert each.namespace in expr
