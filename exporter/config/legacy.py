"""The original flat file (`prometheus_url`, `metrics`, …), still read as it is."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr, field_validator

from exporter.config.errors import Mistake
from exporter.config.nodes import Node
from exporter.config.secrets import FilePath
from exporter.config.section_base import Conflict, PositiveDuration, Section, SourceUrl, require
from exporter.config.sections.job import PromQL
from exporter.config.sections.root import Config

_LONGEST_NAME: Final = 60


class FlatConfig(Section):
    """The keys of the original flat file."""

    prometheus_url: SourceUrl = Field("http://localhost:9090", description="becomes `prometheus.url`")
    metrics: tuple[PromQL, ...] = Field(
        min_length=1, description="becomes `jobs`: one for each PromQL in this list, with a name made from it"
    )
    contamination: float = Field(
        0.01, gt=0, le=0.5, description="becomes the parameter of the detector `isolation_forest`, used for every job"
    )
    window_minutes: Annotated[float, Field(gt=0, le=527_040)] = Field(60.0, description="becomes `window` of every job")
    step: PositiveDuration = Field(60.0, description="becomes `step` of every job")
    model_path: FilePath | None = Field(
        None,
        description="becomes `models.path`; of a `.joblib` or `.pkl` file, the folder of that name without the ending",
    )
    slack_webhook_url: SecretStr | None = Field(None, description="becomes `notify.slack`; never shown")
    output_csv: FilePath | None = Field(None, description="becomes `audit.path`")
    drift_detection: bool = Field(False, description="becomes `drift_detection`")

    @field_validator("model_path", "slack_webhook_url", "output_csv", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("drift_detection")
    @classmethod
    def _watchable(cls, value: bool) -> bool:
        if value:
            require("river", "river")
        return value

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if 60 * self.window_minutes < 2 * self.step:
            yield ("window_minutes", "step"), "window_minutes must hold at least two steps"
        for metric, count in Counter(self.metrics).items():
            if count > 1:
                yield ("metrics",), f"holds the same PromQL {count} times: {metric[:80]}"


_FLAT: Final = frozenset(FlatConfig.model_fields)
_NEW: Final = frozenset(Config.model_fields)


def is_flat(tree: Node) -> bool:
    """Tell whether these are the keys of the original flat file."""
    assert isinstance(tree.value, dict)
    return "jobs" not in tree.value and not tree.value.keys().isdisjoint(_FLAT - _NEW)


def refuse_mixture(tree: Node, flat: bool) -> tuple[Node, list[Mistake]]:
    """Take out the keys of the other layout than the one in use; return what is left, and a mistake for each."""
    assert isinstance(tree.value, dict)
    foreign = (_NEW - _FLAT) if flat else (_FLAT - _NEW)
    mistakes = []
    for key in tree.value.keys() & foreign:
        if flat:
            first = next(name for name in tree.value if name in _FLAT)
            message = (
                f"cannot be used together with {first}, a key of the original flat file; keep to one of the two layouts"
            )
        else:
            message = (
                f"is a key of the original flat file and cannot be used together with jobs; here it {_becomes(key)}"
            )
        origin = tree.value[key].origin
        mistakes.append(Mistake(origin.source, origin.line, (key,), message))
    return Node({key: node for key, node in tree.value.items() if key not in foreign}, tree.origin), mistakes


def to_config(flat: FlatConfig) -> Config:
    """Say the same in today's layout."""
    job = {
        "detector": {"isolation_forest": {"contamination": flat.contamination}},
        "window": 60 * flat.window_minutes,
        "step": flat.step,
    }
    names = job_names(flat.metrics)
    return Config.model_validate(
        {
            "prometheus": {"url": flat.prometheus_url},
            "jobs": {name: {"expr": expr, **job} for name, expr in zip(names, flat.metrics, strict=True)},
            "audit": {"path": flat.output_csv} if flat.output_csv else None,
            "models": {"path": _folder(flat.model_path)} if flat.model_path else None,
            "notify": {"slack": flat.slack_webhook_url},
            "drift_detection": flat.drift_detection,
        }
    )


def job_names(exprs: Sequence[str]) -> list[str]:
    """Make a readable name of every PromQL expression; those that would share a name get a digest of theirs.

    >>> job_names(["node_load1", 'rate(http_requests_total{job="api"}[5m])'])
    ['node_load1', 'rate_http_requests_total_job_api_5m']
    """
    names = ["_".join(re.findall(r"[A-Za-z0-9_:.]+", expr)).lstrip(".:-_") or "query" for expr in exprs]
    many = Counter(name[:_LONGEST_NAME] for name in names)
    return [
        f"{name[:_LONGEST_NAME]}-{hashlib.sha256(expr.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"
        if len(name) > _LONGEST_NAME or many[name[:_LONGEST_NAME]] > 1
        else name
        for name, expr in zip(names, exprs, strict=True)
    ]


def _folder(model: Path) -> Path:
    return model.with_suffix("") if model.suffix in {".joblib", ".pkl"} else model


def _becomes(key: str) -> str:
    text = FlatConfig.model_fields[key].description or ""
    return text.replace("`", "").partition(";")[0]
