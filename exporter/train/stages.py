"""The stages of a training: fit a candidate, let the gate evaluate it, make it the current model."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from detectors.types import State
from detectors.units import DAY
from exporter.backtest.replay import Progress
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.models import ModelMissing, ModelRefused, Store
from exporter.models.signed_records import Manifest, Outcome, Pointer
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.shard import Shard
from exporter.pipeline.window import Edit
from exporter.promql import format_duration
from exporter.source.prometheus import Prometheus
from exporter.train.errors import TooFew, TrainError, Unneeded, excused, explained
from exporter.train.exclusions import LabelledIncidents, labelled_incidents_of
from exporter.train.gate import GateDecision, rule
from exporter.train.holdout import HoldoutReplay, HoldoutResult, beginning, counted
from exporter.train.holdout import split as split_at
from exporter.train.injected_faults import Inject, count_found, plan
from exporter.train.training_job import Exclusions, training_job, unedited

SHORT: Final = 2 * DAY
"""Seconds of training in which a detector may not have seen enough of the rhythm of a day to tell a fault from it."""
AGAINST: Final = "old_generation"
"""Figure that says which switch of the store the model was compared with; 0 for none."""


@dataclass(eq=False)
class Training:
    """The training of one job, or of one replica's part of it. Use it in `with`.

    Parameters
    ----------
    config : Config
    name : str
        Of the job.
    shard : Shard
    start, end : float
        Unix seconds.
    progress : callable
        Called with the number of samples just read or evaluated.
    version : str
        The candidate: the version that `fit` has stored, or that the gate evaluates or promotes.
    """

    config: Config
    name: str
    shard: Shard
    start: float
    end: float
    progress: Progress = field(default=lambda _: None)
    version: str = ""

    def __post_init__(self) -> None:
        assert self.config.models is not None
        self.job: JobConfig = self.config.jobs[self.name]
        self.store = Store(self.config.models)
        self.model = self.shard.model_name(self.name)
        self.source = Prometheus(self.config.prometheus, self.config.limits)
        step = self.job.step
        self.first, self.last = math.ceil(self.start / step), math.floor((self.end - self.job.lag) / step)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    @cached_property
    def labelled(self) -> LabelledIncidents:
        """Labelled incidents and silences in the training time."""
        return labelled_incidents_of(self.config, self.name, self.job, self.start, self.end)

    def fit(self) -> Manifest:
        """Train on all but the held-out time and store a candidate.

        Raises TrainError, StoreError; Unneeded where the job is too young to be trained.
        """
        with explained():
            step = self.job.step
            first = beginning(self._make(unedited), self.first, self.last)
        with explained(), excused(young=first > self.first):
            split = split_at(first, self.last, step, self.labelled.events, self.config.train)
            left_out = Exclusions([*self.labelled.events, *self.labelled.silences])
            job = self._make(left_out, history=(split - first + 1) * step)
            for _ in evaluate(job, (split + 0.5) * step + self.job.lag, should_continue=self._one_more):
                pass
            self._require_fitted(job)
            manifest = self.store.save(
                job=self.model,
                detector=self.job.detector_name,
                parameters=self.job.detector_parameters,
                channels=tuple(self.job.queries),
                state=job.model.detector.state(),
                trained_from=first * step,
                trained_to=split * step,
                fingerprint=left_out.fingerprint,
                quality={
                    "left_out": left_out.share,
                    "samples": left_out.samples - left_out.left_out,
                    "entities": len(job.window.keys),
                },
                in_service=False,
            )
            self.version = manifest.version
            return manifest

    def has_candidate(self) -> bool:
        """Tell whether there is a candidate: the version named, else the newest one, unless it is the current model."""
        newest = next((each for each in self.store.versions(self.model) if each.manifest is not None), None)
        if not self.version and newest is not None and not newest.in_service:
            self.version = newest.version
        return bool(self.version)

    def gate_decision(self) -> Outcome | None:
        """Return the decision of the gate about the candidate, None without one. Raises StoreError."""
        return self.store.outcome(self.model, self.version)

    def judge(self) -> GateDecision:
        """Let the gate evaluate the candidate, and store its decision. Raises TrainError, StoreError."""
        with explained():
            state, manifest = self._load(self.version)
            split = round(manifest.trained_to / self.job.step)
            self.start = min(self.start, manifest.trained_to)
            if self.last <= split:
                raise TrainError("there is no sample after those it was trained on: nothing to judge it by")
            new, against, old = self._results(state, split)
            decision = rule(new, old, self.job.false_alarms, self.config.train.gate)
            decision = replace(decision, figures={**manifest_figures(manifest), **decision.figures, AGAINST: against})
            learnt = manifest.trained_to - manifest.trained_from
            if not decision.passed and learnt < SHORT:
                why = f"it has learnt from {format_duration(learnt)} only; train again when there is more"
                decision = replace(decision, reason=f"{decision.reason}; {why}")
            self.store.judge(
                self.model, self.version, passed=decision.passed, reason=decision.reason, figures=decision.figures
            )
            return decision

    def promote(self) -> None:
        """Make the candidate the current model. Raises Unneeded, StoreError.

        The model it was compared with must still be the current one: of two trainings at once, the second is not
        promoted.
        """
        pointer = self._pointer()
        if pointer is not None and pointer.version == self.version:
            raise Unneeded(f"{self.version} is active already")
        decision = self.gate_decision()
        if decision is not None and decision.passed and decision.figures.get(AGAINST) != generation_of(pointer):
            raise Unneeded(
                f"{self.version} is not activated: another model was activated since it was evaluated; "
                f"evaluate it again with --stage gate --version {self.version}, or train again"
            )
        self.store.promote(self.model, self.version)

    def _results(self, state: State, split: int) -> tuple[HoldoutResult, int, HoldoutResult | None]:
        """Return the results of the new model and of the current one, if there is one, on the held-out time."""
        replay = HoldoutReplay(self._make, split, self.last, self.progress)
        against, old = generation_of(self._pointer()), self._in_service()
        models = [(state, split)]
        if old is not None:
            trained_to = round(old[1].trained_to / self.job.step)
            models.append((old[0], min(max(trained_to, self.first), split)))
        replays = [replay.run(*model, unedited) for model in models]
        results = [counted(self.name, each, self.labelled.events, self.labelled.silences) for each in replays]
        if results[0].figures.series_weeks == 0:
            raise TrainError("the held-out time holds no sample: nothing to judge the new model by")
        if results[0].figures.events < self.config.train.gate.least_events:
            faults = plan(replays[0], self.job, [*self.labelled.events, *self.labelled.silences])
            if faults:
                again = [replay.run(*model, Inject(faults, self.job.step)) for model in models]
                results = [
                    replace(result, faults=total, faults_found=found)
                    for result, (total, found) in zip(
                        results, [count_found(each, faults) for each in again], strict=True
                    )
                ]
        return results[0], against, results[1] if old is not None else None

    def _make(self, edit: Edit, history: float | None = None) -> Job:
        settings = self.job.model_copy(update={"history": history})
        return training_job(self.name, settings, self.source, self.shard, edit)

    def _one_more(self) -> bool:
        self.progress(1)
        return True

    def _require_fitted(self, job: Job) -> None:
        if not job.window.keys:
            if self.shard.count > 1 and job.reader.seen:
                raise Unneeded("no entity belongs to this replica")
            raise TrainError("no sample is left to learn from in the training window")
        if not job.model.fitted or not job.model.detector.state():
            raise TooFew("the detector has learnt nothing: the training window is too short for it")

    def _load(self, version: str | None) -> tuple[State, Manifest]:
        job = self._make(unedited)
        queries = tuple(self.job.queries)
        state, manifest = self.store.load(
            self.model, self.job.detector_name, self.job.detector_parameters, queries, version
        )
        try:
            job.model.detector.restore(state)
        except ValueError as error:
            raise ModelRefused("wrong_model", f"job {self.name}: {manifest.version} does not fit: {error}") from None
        return state, manifest

    def _in_service(self) -> tuple[State, Manifest] | None:
        """Return the current model, None where none can be used: the new one then competes with nothing."""
        try:
            return self._load(None)
        except (ModelMissing, ModelRefused):
            return None

    def _pointer(self) -> Pointer | None:
        """Return the pointer to the current model, None where there is none or it is refused."""
        try:
            return self.store.current(self.model)
        except ModelRefused:
            return None


def generation_of(pointer: Pointer | None) -> int:
    """Return which switch of the store led to this; 0 where there was none."""
    return 0 if pointer is None else pointer.generation


def manifest_figures(manifest: Manifest) -> dict[str, float]:
    """Return the figures of the training itself."""
    return {name: math.nan if value is None else value for name, value in manifest.quality.items()}
