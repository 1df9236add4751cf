"""What runs one configuration, prepared as a whole: it takes effect as a whole, or not at all."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from exporter.config.digest import JobDigests, job_digests
from exporter.config.load import Loaded
from exporter.config.sections.job import drift_settings
from exporter.config.sections.root import Config
from exporter.config.watch import Watcher
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.models import Store
from exporter.observe.job_metrics import JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard
from exporter.service.runner import NEVER, Runner, Saving
from exporter.service.standby import silent
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.registry import Sinks
from exporter.source.pace import Pace
from exporter.source.prometheus import Prometheus


@dataclass(frozen=True, slots=True)
class Active:
    """A configuration and what was made of it."""

    loaded: Loaded
    watcher: Watcher
    source: Prometheus
    store: Store | None
    saving: Saving
    digests: Mapping[str, JobDigests]
    runners: Mapping[str, Runner]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is ready and not yet active.

    Parameters
    ----------
    active : Active
    commit : callable
        Puts the settings of the sinks and the answers into use; the rest takes effect with `active` itself.
    """

    active: Active
    commit: Callable[[], None]


class Preparation:
    """Prepares configurations; nothing that is active is touched.

    Parameters
    ----------
    sinks, answers, metrics, telemetry
        The same as long as the exporter runs.
    shard : Shard
        Which of several replicas this is.
    deploys : DeployBook or None
        What is known of deploys.
    """

    def __init__(
        self, sinks: Sinks, answers: FeedbackBook, metrics: SelfMetrics, telemetry: Telemetry, shard: Shard,
        deploys: DeployBook | None = None,
    ) -> None:  # fmt: skip
        self._deploys = deploys
        self.leads = True
        """Whether what is prepared is for a leader; a standby saves, writes and sends nothing."""
        self._answers = answers
        self._sinks, self._metrics, self._telemetry, self._shard = sinks, metrics, telemetry, shard

    def prepare(self, loaded: Loaded, before: Active | None) -> Prepared:
        """Prepare all that `loaded` asks for; what `before` has of it is used again.

        Raises whatever went wrong, after what was prepared until then is closed.
        """
        config = loaded.config
        with ExitStack() as undo:
            # A file must look the same at two polls before it is read: it may be half written at the first.
            watcher = Watcher(loaded.files, config.reload_poll / 2, loaded.content)
            source = self._source(config, before, undo)
            store = _store(config, before)
            saving = Saving.of(config)
            sinks = self._sinks.prepare(config if self.leads else silent(config))
            undo.callback(sinks.discard)
            answers = self._answers.prepare(config)
            undo.callback(answers.discard)
            digests = {name: job_digests(job, config) for name, job in config.jobs.items()}
            parts = _Parts(config, source, store, saving)
            runners = {}
            for name, each in digests.items():
                running = before.runners.get(name) if before is not None else None
                if running is not None and running.job.settings.digests.learning == each.learning:
                    runners[name] = running
                else:
                    runners[name] = self._runner(name, each, parts, running, undo)
            active = Active(loaded, watcher, source, store, saving if self.leads else NEVER, digests, runners)
            undo.pop_all()  # all of it comes into service

        def commit() -> None:
            sinks.commit()
            answers.commit()

        return Prepared(active, commit)

    @staticmethod
    def _source(config: Config, before: Active | None, undo: ExitStack) -> Prometheus:
        if before is not None:
            old = before.loaded.config
            if (config.prometheus, config.limits) == (old.prometheus, old.limits):
                return before.source
        source = Prometheus(config.prometheus, config.limits, Pace(config.prometheus.history_share))
        undo.callback(source.close)
        return source

    def _runner(
        self, name: str, digests: JobDigests, parts: "_Parts", running: Runner | None, undo: ExitStack
    ) -> Runner:
        """Return a new runner, of a job with its saved state where there is one that fits.

        `running` is the one that it would replace.
        """
        config, settings = parts.config, parts.config.jobs[name]

        def fresh() -> Job:
            metrics = JobMetrics(self._metrics, name, settings.detector_name)
            one_of = JobSettings(name, settings, digests, self._shard, len(config.jobs))
            job = Job(one_of, parts.source, metrics, parts.store)
            job.watch_drift(drift_settings(settings.drift_detection, config.drift_detection))
            job.deploys = None if self._deploys is None else OwnDeploys(self._deploys)
            return job

        job, folder = fresh(), parts.saving.folder
        undo.callback(self._forget, job, running)  # a restored state shows which model it is of
        if folder is not None and not folder.restore(job):
            job = fresh()
        return Runner(job, self._telemetry, self._sinks, parts.saving if self.leads else NEVER)

    def _forget(self, job: Job, running: Runner | None) -> None:
        """Drop what the metrics say of a job that does not come into service."""
        if running is None:
            self._metrics.forget(job.name)
        elif _model(job) != _model(running.job):
            labels = {"query": job.name, "detector": job.config.detector_name, "version": job.model.version}
            self._metrics.model_info.remove_by_labels(labels)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all runners of a configuration share."""

    config: Config
    source: Prometheus
    store: Store | None
    saving: Saving


def _model(job: Job) -> tuple[str, str]:
    return job.config.detector_name, job.model.version


def _store(config: Config, before: Active | None) -> Store | None:
    if before is not None and config.models == before.loaded.config.models:
        return before.store
    return Store(config.models) if config.models else None
