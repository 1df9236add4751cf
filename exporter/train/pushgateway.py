"""The outcome of a training as metrics for a Pushgateway."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

from exporter.config.sections.train import Endpoint
from exporter.observe.metrics import PREFIX
from exporter.source.endpoint import session_to
from exporter.source.errors import SourceError
from exporter.source.http_session import Session
from exporter.train.errors import TrainError
from exporter.train.result import ENDS, TrainOutcome

JOB: Final = "anomaly_exporter_train"
_FIGURES: Final = {
    "recall": "Share of the known incidents in the held-out time that were found",
    "precision": "Incidents found over these and false ones",
    "f1": "Harmonic mean of recall and precision",
    "false_per_series_week": "Incidents outside known ones, per week and entity",
}


def push(endpoint: Endpoint, outcomes: Iterable[TrainOutcome]) -> None:
    """Push each outcome into a group of its own, labelled `query` and `shard`. Raises TrainError.

    What a group has of an earlier training and this one says nothing of, such as figures, stays.
    """
    try:
        with session_to(endpoint) as session:
            for outcome in outcomes:
                pushadd_to_gateway(
                    endpoint.url,
                    job=JOB,
                    registry=_metrics(outcome),
                    grouping_key={"query": outcome.job, "shard": outcome.shard},
                    handler=_handler(session),
                )
    except SourceError as error:
        raise TrainError(f"the outcome was not pushed: {error}") from None


def _metrics(outcome: TrainOutcome) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_train_{name}", text, labels, registry=registry)

    gauge("timestamp_seconds", "When the last training ended").set(outcome.time + outcome.seconds)
    gauge("duration_seconds", "How long the last training took").set(outcome.seconds)
    kinds = gauge("outcome", "1 for how the last training ended", "outcome")
    for kind in ENDS:
        kinds.labels(kind).set(kind == outcome.outcome)
    for name, text in _FIGURES.items():
        if name in outcome.figures:
            of_model = gauge(name, text, "model")
            for model, prefix in (("new", ""), ("old", "old_")):
                value = outcome.figures.get(f"{prefix}{name}")
                if value is not None:
                    of_model.labels(model).set(value)
    return registry


def _handler(session: Session) -> Callable[..., Callable[[], None]]:
    """Return what sends a push: the library's own would take proxies from the environment and follow redirects."""

    def handler(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        del timeout  # the endpoint's deadline holds

        def send() -> None:
            session.request(method, url, data=data, headers=dict(headers))

        return send

    return handler
