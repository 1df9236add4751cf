"""One alert per job, as a Prometheus rule file."""

import re
from typing import Any, Final

from exporter.config.models import Config, JobConfig
from exporter.source.promql import selector
from rules.templates import entity, plain, readings

_SHOWN: Final = {
    "value": ("observed", "anomaly_value"),
    "expected": ("expected", "anomaly_expected"),
    "lower": ("at least", "anomaly_lower"),
    "upper": ("at most", "anomaly_upper"),
}
"""What a notification says of the judged series, by the job's `publish`."""


def rule_groups(config: Config) -> dict[str, Any]:
    """Return the rule file of `config`: one group and one alert per job."""
    return {
        "groups": [
            {"name": f"anomaly-exporter {name}", "rules": [alert(name, job)]} for name, job in config.jobs.items()
        ]
    }


def alert(name: str, job: JobConfig) -> dict[str, Any]:
    """Return the alert of one job.

    It fires on `anomaly_alert`, the incidents that fit the job's budget; on `anomaly_flag`, every incident, where the
    job does not publish alerts.
    """
    metric = "anomaly_alert" if "alert" in job.publish else "anomaly_flag"
    shown = readings(pair for field, pair in _SHOWN.items() if field in job.publish)
    rule: dict[str, Any] = {
        "alert": alert_name(name),
        "expr": f"{selector(metric, query=name)} == 1",
        "labels": {"severity": plain(job.alert.severity)},
        "annotations": {
            "summary": f"Anomaly in {plain(name)}{entity()}",
            "description": f"{shown}score "
            '{{ range query (printf "anomaly_score{%s}" $s) }}{{ .Value | printf `%.3g` }}{{ end }}'
            " (above 1 is anomalous).",
        },
    }
    if job.alert.for_:
        rule["for"] = f"{round(job.alert.for_ * 1000)}ms"
    return rule


def alert_name(job: str) -> str:
    """Return `AnomalyNodeCpu` for `node-cpu`; jobs whose names differ only in punctuation share it."""
    return "Anomaly" + "".join(word[0].upper() + word[1:] for word in re.findall(r"[^\W_]+", job))
