"""What a job has learnt, besides its model: how far it is, its open incidents, its history of them."""

import math
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from detectors.entity_state import KEYS_FIELD, decode_keys, decode_text, encode_keys, encode_text
from detectors.types import Flags, Key, State
from exporter.config.sections.job import DriftConfig, JobConfig
from exporter.context.own_deploys import IncidentDeploys
from exporter.pipeline.alert_budget import AlertBudget
from exporter.pipeline.calendar import JobCalendar
from exporter.pipeline.drift import DriftWatch
from exporter.pipeline.expected import ExpectedIncidents
from exporter.pipeline.group_score import GroupScorer
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.learning_hold import LearningHold
from exporter.pipeline.limit_forecast import LimitForecast
from exporter.pipeline.peer_groups import PeerCount
from exporter.pipeline.policy import Policy
from exporter.pipeline.presence import Presence
from exporter.pipeline.verdict import Verdict, restored_verdict, verdict_state
from exporter.pipeline.worst_readings import WorstReadings


class Stateful(Protocol):
    """What has a state of named arrays."""

    def state(self) -> State:
        """Return the state."""
        ...

    def restore(self, state: State) -> object:
        """Take over a state. Raises ValueError when it does not fit."""
        ...


class LearnedState:
    """All that a job's next cycle depends on, besides its settings, its model and the samples themselves."""

    def __init__(self, settings: JobSettings) -> None:
        config = settings.config
        self._settings = settings
        self.policy = Policy.of(config)
        self.calendar = JobCalendar.of(config)
        self.incidents = IncidentTracker.of(config)
        self.readings = WorstReadings.of(config)
        self.hold = LearningHold(config)
        self.budget = AlertBudget.of(config, settings.shard.count)
        self.groups = GroupScorer.of(config)
        self.expected = ExpectedIncidents()
        self.deploys = IncidentDeploys()
        self.presence = Presence(config)
        self.forecast = None if config.forecast is None else LimitForecast(config)
        """When series reach their limit, if they have one."""
        self.peers = PeerCount(config)
        self.drift: DriftWatch | None = None
        """What watches the scores for lasting changes, if anything does."""
        self.judged = -math.inf
        """Unix seconds of the newest judged sample."""
        self.since = -math.inf
        """Unix seconds of the first sample ever asked for."""
        self.warming = False
        """Whether the history is still being replayed; what is found in it is not published."""
        self.last: Verdict | None = None
        """The newest verdict, to be shown again after a restart until there is a newer one."""
        self.keys: tuple[Key, ...] = ()
        """Entities of the window before a restart."""
        self.accepting: tuple[tuple[Key, float], ...] = ()
        """Entities whose level an answer accepts, and when it was given (Unix seconds); replaced as a whole."""
        self._accepted: frozenset[Key] = frozenset()
        self._accepting = threading.Lock()

    def reconfigure(self, settings: JobSettings) -> None:
        """Decide by other settings from the next sample on; nothing that was learnt is lost."""
        policy, self.policy = self.policy, Policy.of(settings.config)
        self._settings, self.calendar = settings, JobCalendar.of(settings.config)
        self.incidents = self.incidents.reconfigured(settings.config)
        self.hold = self.hold.reconfigured(settings.config)
        self.budget.reconfigure(settings.config, settings.shard.count)
        self.groups.reconfigure(settings.config)
        self.presence.reconfigure(settings.config)
        self._reconfigure_forecast(settings.config)
        if self.policy != policy:  # the scores are others from now on
            self.restart_drift()

    def _reconfigure_forecast(self, config: JobConfig) -> None:
        before, self.forecast = self.forecast, None
        if config.forecast is not None:
            self.forecast = LimitForecast(config)
            if before is not None and before.same_values(config):
                self.forecast = before
                before.reconfigure(config)

    def watch_drift(self, config: DriftConfig | None) -> None:
        """Watch the scores for lasting changes as `config` says, None: not at all. The same settings change nothing."""
        if config != (None if self.drift is None else self.drift.config):
            self.drift = None if config is None else DriftWatch(config)

    def restart_drift(self) -> None:
        """Forget the scores that drift was watched in: those that follow are not comparable."""
        if self.drift is not None:
            self.drift = DriftWatch(self.drift.config)

    def accept(self, keys: Iterable[Key]) -> None:
        """Let the level of open incidents be normal from the next sample on. May be called from any thread."""
        with self._accepting:
            self._accepted |= frozenset(keys)

    def take_accepted(self, keys: tuple[Key, ...], now: float) -> Flags | None:
        """Return which entities of `keys` were accepted since the last time, shape (E,); None if there was none.

        Those that an answer accepts count for the first sample after the answer, the one at `now` (Unix seconds) if so.
        """
        with self._accepting:
            accepted, self._accepted = self._accepted, frozenset()
        if self.accepting:
            accepted |= {key for key, at in self.accepting if self.judged <= at < now}
        return np.array([key in accepted for key in keys], np.bool_) if accepted else None

    def state(self) -> State:
        """Return all of it as named arrays."""
        state: State = {"judged": np.array(self.judged), "since": np.array(self.since)}
        state |= {"warming": np.array(self.warming), "policy": encode_text(repr(self.policy))}
        state["accepted"] = encode_keys(tuple(sorted(self._accepted)))
        for name, part in self._parts.items():
            state |= {f"{name}/{field}": array for field, array in part.state().items()}
        if self.last is not None:
            state |= {f"last/{field}": array for field, array in verdict_state(self.last).items()}
        return state

    def restore(self, state: State) -> None:
        """Take over what `state()` returned, under whatever settings of deciding. Raises ValueError, KeyError."""

        def of(part: str) -> State:
            return {field.removeprefix(f"{part}/"): a for field, a in state.items() if field.startswith(f"{part}/")}

        for name, part in self._parts.items():
            if name != "drift" or decode_text(state["policy"]) == repr(self.policy):  # else of scores not comparable
                part.restore(of(name))
        self._accepted = frozenset(decode_keys(state["accepted"]))
        self.keys = decode_keys(state[f"incidents/{KEYS_FIELD}"])
        self.warming = bool(state["warming"])
        self.judged, self.since = (float(state[name].astype(np.float64)) for name in ("judged", "since"))
        if last := of("last"):
            self.last = restored_verdict(
                last,
                job=self._settings.name,
                detector=self._settings.config.detector_name,
                channels=tuple(self._settings.config.queries),
                model_version=decode_text(state["model_version"]),
            )
            if self.readings.keys == self.last.keys:
                self.last = replace(self.last, readings=self.readings.current())

    @property
    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "incidents": self.incidents,
            "hold": self.hold,
            "readings": self.readings,
            "budget": self.budget,
            "groups": self.groups,
            "expected": self.expected,
            "deploys": self.deploys,
            "presence": self.presence,
        }
        if self.forecast is not None:
            parts["forecast"] = self.forecast
        return parts if self.drift is None else {**parts, "drift": self.drift}
