"""The alerts on models that cannot be loaded, and on trainings that fail or are overdue."""

from typing import Final

from exporter.config.sections.train import TrainConfig
from exporter.promql import format_duration
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, series
from rules.alerts.templates import label, literal

_JOB: Final = {"query": "j"}
_OF_JOB: Final = literal(" of ") + label("query", _JOB)


def model_alerts(train: TrainConfig, common: dict[str, str]) -> tuple[Alert, ...]:
    """Return the alerts on stored models and their training; without a store they never fire."""
    return _not_taken(common), _training(train.every, common)


def _not_taken(common: dict[str, str]) -> Alert:
    current, up = (series(f"anomaly_exporter_model_{name}", **_JOB) for name in ("current", "store_up"))
    return Alert(
        name=names.NOT_TAKEN,
        expr="min by (query) (anomaly_exporter_model_current) == 0\n"
        "or min by (query) (anomaly_exporter_model_store_up) == 0",
        labels=common,
        summary=literal("The stored model") + _OF_JOB + " is not loaded",
        description=literal("The previous model stays active: the store does not answer, or its model is rejected."),
        graph=graph("anomaly_exporter_model_current"),
        series=_JOB,
        meaning="The current model of the model store is not the one loaded: it is rejected or cannot catch up. Or the "
        "store does not answer.",
        action="`anomaly-exporter models verify` shows what is wrong, and so does the log: `model_refused`, "
        "`model_catch_up_interrupted`, `model_store_down`. "
        "`anomaly-exporter models rollback` activates the previous model.",
        cases=(
            Case("fires for a refused model", {current: "0x60", up: "1x60"}, 20, fires=True),
            Case("fires without the store", {current: "1x60", up: "0x60"}, 20, fires=True),
            Case("stays silent", {current: "1x60", up: "1x60"}, 20, fires=False),
            Case("stays silent while a model catches up", {current: "1x5 0x5 1x60", up: "1x70"}, 20, fires=False),
        ),
        for_=900.0,
    )  # fmt: skip


def _training(every: float | None, common: dict[str, str]) -> Alert:
    failed = series("anomaly_exporter_train_outcome", **_JOB, outcome="failed")
    ended = series("anomaly_exporter_train_timestamp_seconds", **_JOB)
    expr = 'max by (query) (anomaly_exporter_train_outcome{outcome="failed"}) == 1'
    meaning = "The last training of the job failed."
    cases = [
        Case("fires", {failed: "1x60"}, 10, fires=True),
        Case("stays silent", {failed: "0x60", ended: "0x60"}, 10, fires=False),
    ]
    if every is not None:
        overdue = 2 * every
        expr += f"\nor time() - max by (query) (anomaly_exporter_train_timestamp_seconds) > {overdue:g}"
        meaning += f" Or none has ended for {format_duration(overdue)}, twice `train.every`."
        cases.append(Case("fires when it is overdue", {failed: "0x60", ended: f"{-overdue:g}x60"}, 10, fires=True))
    return Alert(
        name=names.TRAINING,
        expr=expr,
        labels=common,
        summary=literal("The training") + _OF_JOB + " failed or is overdue",
        description=literal("The current model stays active."),
        graph=graph("time() - anomaly_exporter_train_timestamp_seconds"),
        series=_JOB,
        meaning=meaning,
        action="`anomaly-exporter models show --job NAME` has the reason. Overdue: does the CronJob or the DAG run? A "
        "rejected training is not a failed one: its model was not better.",
        cases=tuple(cases),
        for_=300.0,
    )
