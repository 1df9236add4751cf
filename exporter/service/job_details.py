"""What a page shows of one job besides its verdicts: stored models, published quality, and what it has cost."""

import math
from collections.abc import Callable

from prometheus_client import Counter, Histogram

from exporter.backtest.quality_metrics import published
from exporter.models import ModelVersion, StoreError
from exporter.models.comparison import differences, gate, moment
from exporter.observe.metrics import SelfMetrics
from exporter.redact import masked
from exporter.service.active import Active
from exporter.web.ui.facts import JobDetails
from exporter.web.ui.job_answers import StoredModel


def details_of(active: Callable[[], Active], metrics: SelfMetrics, job: str) -> JobDetails:
    """Return what is known of a job; may wait for the model store."""
    now, trouble = active(), ""
    models: list[StoredModel] = []
    runner = now.runners.get(job)
    if now.store is not None and runner is not None:
        try:
            models = _models(now.store.versions(runner.job.settings.model_name))
        except StoreError as error:
            trouble = f"The model store did not answer: {masked(str(error))}"
    found = published(now.loaded.config, job)
    return JobDetails(
        models=models,
        trouble=trouble,
        quality={} if found is None else found.figures,
        quality_at=math.nan if found is None else found.time,
        samples=sum(_values(metrics.samples, job, "_total").values()),
        stages=_values(metrics.stage_seconds, job, "_sum"),
    )


def _models(versions: "list[ModelVersion] | tuple[ModelVersion, ...]") -> list[StoredModel]:
    active = next((each for each in versions if each.in_service), None)
    return [
        StoredModel(
            version=each.version,
            active=each.in_service,
            trained_at=moment(each.manifest.trained_at) if each.manifest else "",
            gate=gate(each),
            rejected=each.outcome is not None and not each.outcome.passed,
            refused=each.refused,
            differences={}
            if active is None or each is active
            else {name: [str(mine), str(theirs)] for name, (mine, theirs) in differences(each, active).items()},
        )
        for each in versions
    ]


def _values(metric: Counter | Histogram, job: str, end: str) -> dict[str, float]:
    """Return the values of one job, by stage."""
    return {
        sample.labels.get("stage", ""): sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(end) and sample.labels.get("query") == job
    }
