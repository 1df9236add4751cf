"""docs/metrics.md says what is on the page, no more and no less."""

import ast
import re
from pathlib import Path
from typing import get_args

from exporter.config import reference
from exporter.exposition import MAX_LABEL_BYTES
from exporter.families import FAMILIES, table
from exporter.observe.metrics import STATES, SelfMetrics
from exporter.observe.stages import Stage
from exporter.source import errors

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
JUDGED = {family.metric for family in FAMILIES}
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)


def documented() -> dict[str, tuple[str, set[str]]]:
    rows = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(TEXT)}
    assert len(rows) == len(ROW.findall(TEXT)), "a metric is documented twice"
    return rows


def values_of(label: str, metric: str) -> set[str]:
    """Return the documented values of a label of a metric."""
    section = TEXT.split(f"\n`{label}` of `{metric}`\n")[1].split("\n`")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def on_the_page() -> dict[str, tuple[str, set[str]]]:
    metrics = SelfMetrics()
    for family in vars(metrics).values():
        if names := getattr(family, "_labelnames", ()):
            family.labels(*names)
    suffix = {"counter": "_total", "info": "_info"}
    found = {}
    for family in metrics.registry.collect():
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        kind = "gauge" if family.type == "info" else family.type
        found[family.name + suffix.get(family.type, "")] = (kind, labels)
    return found


def test_every_metric_about_the_exporter_is_documented_with_type_and_labels_and_nothing_else_is() -> None:
    own = {name: row for name, row in documented().items() if name not in JUDGED}
    assert own == on_the_page()


def test_every_judged_family_is_documented_and_nothing_else_is() -> None:
    judged = {name: row for name, row in documented().items() if name in JUDGED}
    assert set(judged) == JUDGED
    for name, (kind, labels) in judged.items():
        assert kind == "gauge"
        assert {"query", "detector"} <= labels
        figure = name.removeprefix("anomaly_").removeprefix("incident_")
        assert ("channel" in labels) == (figure in {"value", "expected", "lower", "upper", "contribution"})


def test_the_table_of_judged_families_is_up_to_date() -> None:
    assert reference.rewrite(TEXT, table()) == TEXT, "run python -m exporter.config.reference"


def test_the_lists_of_label_values_are_those_of_the_code() -> None:
    reasons = {error.reason for error in vars(errors).values() if isinstance(error, type)} - {"error"}
    assert values_of("reason", "anomaly_exporter_query_errors_total") == reasons
    assert values_of("state", "anomaly_exporter_series") == set(STATES)
    assert values_of("stage", "anomaly_exporter_stage_duration_seconds") == set(get_args(Stage))
    assert f"more than {MAX_LABEL_BYTES // 1024} KiB of labels" in TEXT


def test_every_value_the_code_counts_under_is_documented() -> None:
    """Read from the source text: what stands as a literal in `….labels(name, "value")`."""
    attributes = {
        "cycles": ("outcome", "anomaly_exporter_cycles_total"),
        "flag_changes": ("to", "anomaly_exporter_flag_changes_total"),
        "loads": ("outcome", "anomaly_exporter_model_loads_total"),
        "model_loads": ("outcome", "anomaly_exporter_model_loads_total"),
        "retrains": ("outcome", "anomaly_exporter_retrains_total"),
        "series_dropped": ("reason", "anomaly_exporter_series_dropped_total"),
        "samples_dropped": ("reason", "anomaly_exporter_samples_dropped_total"),
    }
    seen: dict[tuple[str, str], set[str]] = {}
    for path in (ROOT / "exporter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="labels", value=ast.Attribute(attr=name) | ast.Name(id=name)),
                    args=[_, ast.Constant(value=str(value))],
                ) if name in attributes:
                    seen.setdefault(attributes[name], set()).add(value)
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if name in attributes:
                    literals = {key.value for key in keys if isinstance(key, ast.Constant)}
                    seen.setdefault(attributes[name], set()).update(literals)
    assert ("outcome", "anomaly_exporter_cycles_total") in seen
    assert ("reason", "anomaly_exporter_series_dropped_total") in seen
    for (label, metric), values in seen.items():
        assert values <= values_of(label, metric), f"{label} of {metric}"
