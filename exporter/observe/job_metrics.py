"""What one job reports about itself, by what happened. Which metric that is, is said here and nowhere else."""

from collections.abc import Callable, Mapping
from typing import Final, cast

from exporter.observe.metrics import STATES, SelfMetrics


class JobMetrics:
    """The metrics of one job on the exporter's page.

    Parameters
    ----------
    metrics : SelfMetrics
        Where all metrics are registered.
    job, detector : str
        Values of the labels `query` and `detector`.
    """

    def __init__(self, metrics: SelfMetrics, job: str, detector: str) -> None:
        self._metrics, self._job, self._detector = metrics, job, detector

    def fetched(
        self,
        *,
        samples: int,
        body_bytes: int,
        samples_read: int,
        retries: int,
        partial: bool,
        series_dropped: Mapping[str, int],
        samples_dropped: Mapping[str, int],
    ) -> None:
        """Count what one chunk of samples brought in, and what was left out of it, by reason."""
        metrics, job = self._metrics, self._job
        metrics.samples.labels(job).inc(samples)
        metrics.bytes.labels(job).inc(body_bytes)
        if samples_read:  # only where the source tells it is there such a series
            metrics.samples_read.labels(job).inc(samples_read)
        metrics.query_retries.labels(job).inc(retries)
        metrics.partial.labels(job).inc(partial)
        for reason, dropped in series_dropped.items():
            metrics.series_dropped.labels(job, reason).inc(dropped)
        for reason, dropped in samples_dropped.items():
            metrics.samples_dropped.labels(job, reason).inc(dropped)

    def share_read(self, label: str, values: int, whole: bool) -> None:
        """Note that so many values of `label` are this replica's, and whether the whole answer was read for them."""
        self._metrics.share_values.labels(self._job, label).set(values)
        self._metrics.share_whole.labels(self._job).set(whole)

    def not_answered(self, reason: str, times: int) -> None:
        """Count times that the source did not answer, though it answered the newest one."""
        self._metrics.not_answered.labels(self._job, reason).inc(times)

    def source_answered(self) -> None:
        """Note that all queries of a cycle were answered."""
        self._metrics.source_up.labels(self._job).set(1)

    def source_failed(self, reason: str, retries: int) -> None:
        """Note that a query failed for good after so many retries."""
        self._metrics.source_up.labels(self._job).set(0)
        self._metrics.query_errors.labels(self._job, reason).inc()
        self._metrics.query_retries.labels(self._job).inc(retries)

    def cycle_succeeded(self) -> None:
        """Count a cycle that came to its end."""
        self._metrics.cycles.labels(self._job, "success").inc()
        self._metrics.last_success.labels(self._job).set_to_current_time()

    def cycle_failed(self) -> None:
        """Count a cycle that did not."""
        self._metrics.cycles.labels(self._job, "error").inc()

    def cycles_skipped(self, count: float) -> None:
        """Count cycles that were left out because the one before still ran."""
        self._metrics.cycles.labels(self._job, "skipped").inc(count)

    def cycle_began(self, late: float) -> None:
        """Note how many seconds late a cycle began."""
        self._metrics.lateness.labels(self._job).set(late)

    def history_reached(self, seconds: float, limit: str) -> None:
        """Note how far the job's history reaches, and why not further."""
        self._metrics.history.remove_by_labels({"query": self._job})
        self._metrics.history.labels(self._job, limit).set(seconds)

    def backfilled(self, share: float, remaining: float | None = None) -> None:
        """Note which share of its history the job has replayed, from 0 to 1, and the seconds left if they are known."""
        self._metrics.warm_up.labels(self._job).set(share)
        if share >= 1:
            self._metrics.warm_up_remaining.labels(self._job).set(0.0)
        elif remaining is not None:
            self._metrics.warm_up_remaining.labels(self._job).set(remaining)

    def entities(self, states: Mapping[str, int]) -> None:
        """Note how many entities are in which state; a state that is left out has none."""
        for state in STATES:
            self._metrics.series.labels(self._job, self._detector, state).set(states.get(state, 0))

    def flagged(self, share: float) -> None:
        """Note the share of entities with an open incident."""
        self._metrics.flagged_ratio.labels(self._job, self._detector).set(share)

    def expected(self, count: int) -> None:
        """Note how many open incidents are left out, since people answered that they are expected."""
        self._metrics.expected_incidents.labels(self._job).set(count)

    def within_band(self, share: float) -> None:
        """Note the share of the newest samples that lie within their band."""
        self._metrics.band_coverage.labels(self._job, self._detector).set(share)

    def ratios_withdrawn(self) -> None:
        """Drop the figures above: there is no verdict they could be about."""
        self._metrics.flagged_ratio.remove_by_labels({"query": self._job})
        self._metrics.expected_incidents.remove_by_labels({"query": self._job})
        self._metrics.band_coverage.remove_by_labels({"query": self._job})

    def entities_withdrawn(self) -> None:
        """Drop the number of entities by state, whatever the detector they were counted under."""
        self._metrics.series.remove_by_labels({"query": self._job})

    def forecasts(self, states: Mapping[str, int]) -> None:
        """Note how many series are in which state of their forecast; empty: the job makes none."""
        if not states:
            self._metrics.forecasts.remove_by_labels({"query": self._job})
        for state, count in states.items():
            self._metrics.forecasts.labels(self._job, state).set(count)

    def forecast_asked(self, answered: bool) -> None:
        """Count a query for the past that forecasts need."""
        self._metrics.forecast_queries.labels(self._job, "success" if answered else "error").inc()

    def incidents_changed(self, opened: int, closed: int) -> None:
        """Count incidents that opened and closed."""
        self._metrics.flag_changes.labels(self._job, "open").inc(opened)
        self._metrics.flag_changes.labels(self._job, "closed").inc(closed)

    def incidents_accepted(self, count: int) -> None:
        """Count incidents whose level an operator called normal."""
        self._metrics.accepted.labels(self._job).inc(count)

    def drifted(self, method: str) -> None:
        """Count a lasting change of the scores, by the method that found it."""
        self._metrics.drift_events.labels(self._job, self._detector, method).inc()

    def model_asked(self, outcome: str) -> None:
        """Count a model asked of the store: loaded, refused, missing or unreachable."""
        self._metrics.model_loads.labels(self._job, outcome).inc()

    def model_trained(self, at: float) -> None:
        """Note when the model in use was trained, Unix seconds."""
        self._metrics.model_trained.labels(self._job, self._detector).set(at)

    def model_in_use(self, version: str, before: str) -> None:
        """Note the version of the model in use, and the one that was before it ("" for none)."""
        if before:
            self._metrics.model_info.remove(self._job, self._detector, before)
        self._metrics.model_info.labels(self._job, self._detector, version).set(1)

    def model_current(self, current: bool) -> None:
        """Note whether the model in use is the version marked current in the store."""
        self._metrics.model_current.labels(self._job).set(current)

    def model_store_answered(self, answered: bool) -> None:
        """Note whether the model store answered when last asked."""
        self._metrics.model_store_up.labels(self._job).set(answered)

    def trainings_counted(self, outcome: str, more: float) -> None:
        """Count trainings that ended in this way since the last time."""
        self._metrics.retrains.labels(self._job, outcome).inc(more)

    def training_ended(self, outcomes: Mapping[str, bool], at: float, seconds: float) -> None:
        """Note how the last training ended, when (Unix seconds), and how long it took."""
        for outcome, ended in outcomes.items():
            self._metrics.train_outcome.labels(self._job, outcome).set(ended)
        self._metrics.train_time.labels(self._job).set(at)
        self._metrics.train_seconds.labels(self._job).set(seconds)


class _Silent:
    """Takes every call and records nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in vars(JobMetrics):
            raise AttributeError(name)
        return self._ignore

    @staticmethod
    def _ignore(*_: object, **__: object) -> None:
        pass


NO_METRICS: Final = cast("JobMetrics", _Silent())
"""Records nothing: for backtests, trainings and models that catch up."""
