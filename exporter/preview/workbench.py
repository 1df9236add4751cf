"""The replays that are under way or can still be asked for: how many, for how long, and what they may cost."""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from detectors.units import DAY
from exporter.config.errors import ConfigError
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.json_values import utc
from exporter.preview import job_text, messages
from exporter.preview.metric_names import Names
from exporter.preview.process import Replaying
from exporter.source.prometheus import Prometheus
from exporter.web.ui.bench import Choice, Gone, Question, Refused
from exporter.web.ui.preview_answers import MetricNames, Preview, State

MOST: Final = 2
"""Replays at once."""
MOST_STARTS: Final = 20
"""Replays that are begun in a minute, of all people together: each is thousands of samples for the source."""
LEASE: Final = 20.0
"""Seconds after which a replay under way ends that nobody asks for: its browser has left."""
KEPT: Final = 900.0
"""Seconds for which what was found can be decided again after anybody last did."""
LONGEST: Final = 900.0
"""Seconds of a replay."""
_SPARE: Final = 300.0
"""Seconds for which a process waits for a question."""
_TICK: Final = 2.0
_MOST_WRITTEN: Final = 100
"""Choices of a replay whose YAML is kept: a slider makes many."""


@dataclass(slots=True)
class _Session:
    process: Replaying
    question: Question | None = None
    """None where jobs of the configuration are looked back at."""
    written: dict[Choice, tuple[str, str]] = field(default_factory=dict)
    """YAML of the job by the settings that were asked for, and what is said to it."""

    @property
    def step(self) -> float:
        return 0.0 if self.question is None else self.question.step


class Workbench:
    """Runs replays in processes of their own. Safe to use from any thread.

    Parameters
    ----------
    config : callable returning Config
        What is in force.
    source : callable returning Prometheus
        For the names of metrics alone: replays have connections of their own.
    """

    def __init__(self, config: Callable[[], Config], source: Callable[[], Prometheus]) -> None:
        self._config, self._names = config, Names(source)
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._spare: Replaying | None = None
        self._starts: list[float] = []
        self._watching = False

    def warm_up(self) -> None:
        """Have a process ready: to start one takes about a second."""
        with self._lock:
            if self._spare is None and len(self._sessions) < MOST:
                self._spare = Replaying()
                self._watch()

    def start(self, question: Question) -> str:
        """Begin a replay."""
        config = self._config()
        try:
            text = job_text.text_of(question, config)
            job, checked = job_text.checked(text, config)
        except ConfigError as error:
            raise Refused(str(error)) from None
        now = time.time()
        asked = messages.Try(
            **_source(config), name=question.name, job=_plain(job), start=now - question.seconds, end=now, learn=DAY
        )
        return self._begin(asked, _Session(self._process(), question, {question.choice: (text, checked)}))

    def start_past(self, jobs: Sequence[str], seconds: float) -> str:
        """Begin to look back."""
        config = self._config()
        if unknown := [name for name in jobs if name not in config.jobs]:
            raise Refused(f"There is no job {unknown[0]!r} in the configuration now; reload the page.")
        if not jobs:
            raise Refused("Choose at least one job.")
        now = time.time()
        every = {name: _without_receivers(job) for name, job in config.jobs.items()}
        asked = messages.LookBack(**_source(config), jobs=every, wanted=list(jobs), start=now - seconds, end=now)
        return self._begin(asked, _Session(self._process()))

    def _process(self) -> Replaying:
        """Return a process that waits for a question. Raises Refused."""
        with self._lock:
            self._end_old()
            now = time.monotonic()
            self._starts = [each for each in self._starts if now - each < 60.0]
            if len(self._starts) >= MOST_STARTS:
                raise Refused(f"{MOST_STARTS} replays were begun in the last minute; wait for a moment.")
            if len(self._sessions) >= MOST:
                done = sorted(
                    (each for each in self._sessions.items() if not each[1].process.running),
                    key=lambda each: each[1].process.asked_at,
                )
                if not done:
                    raise Refused(f"{MOST} replays are under way already; wait for one, or end it on its page.")
                self._drop(done[0][0])
            self._starts.append(now)
            process, self._spare = self._spare or Replaying(), None
            process.began = process.asked_at = now
            return process

    def _begin(self, question: messages.Asked, session: _Session) -> str:
        name = secrets.token_hex(16)
        try:
            session.process.ask(question)
        except Gone:
            raise Refused("The process of the replay could not be started; try again.") from None
        with self._lock:
            self._sessions[name] = session
            self._watch()
        return name

    def answer(self, preview: str, choice: Choice | None = None, rows: Sequence[int] = ()) -> Preview:
        """Return how a replay stands."""
        with self._lock:
            session = self._sessions.get(preview)
            if session is None:
                raise Gone
            session.process.asked_at = time.monotonic()
        process, question = session.process, session.question
        past, shown = process.past, process.shown
        choice = choice or (Choice() if question is None else question.choice)
        decided = None
        if shown is not None and not (process.failed and shown.state != "exact"):
            try:
                decided = process.decide(choice, rows)
            except Gone:
                if not process.failed:  # it failed while it was asked: its text says why
                    raise
        text, told = self._written(session, choice)
        # By what was shown when it was asked: if the replay ends meanwhile, what was decided is still the first look.
        done = shown is not None and shown.state == "exact"
        state: State = "failed" if process.failed else shown.state if shown else "exact" if past else "reading"
        return Preview(
            id=preview,
            state=state,
            progress=1.0 if done or past else process.progress.share,
            text=process.failed or ("" if done or past else process.progress.text),
            start=utc(shown.start) if shown else None,
            end=utc(shown.end) if shown else None,
            step=shown.step if shown else session.step,
            exact_step=session.step,
            learnt=shown.learnt if shown else 0.0,
            series_count=shown.series if shown else 0,
            samples=shown.samples if shown else 0,
            decided=decided,
            past=past,
            yaml=text,
            checked=told,
        )

    def _written(self, session: _Session, choice: Choice) -> tuple[str, str]:
        """Return the YAML of the job by the settings of `choice`, and what `check-config` says to it."""
        if session.question is None:
            return "", ""
        if (known := session.written.get(choice)) is None:
            question = replace(session.question, choice=choice)
            text, config = "", self._config()
            try:
                text = job_text.text_of(question, config)
                known = text, job_text.checked(text, job_text.only(config, question.name))[1]
            except (ConfigError, Refused) as error:  # the configuration has changed since the replay began
                known = text, f"not any more: {error}"
            if len(session.written) >= _MOST_WRITTEN:
                session.written.clear()
            session.written[choice] = known
        return known

    def cancel(self, preview: str) -> None:
        """End a replay."""
        with self._lock:
            self._drop(preview)

    def metrics(self, part: str, most: int) -> MetricNames:
        """Return metrics of the source."""
        return self._names.like(part, most)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            for name in list(self._sessions):
                self._drop(name)
            self._drop_spare()

    def _drop(self, name: str) -> None:
        if (session := self._sessions.pop(name, None)) is not None:
            session.process.end()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.end()
            self._spare = None

    def _watch(self) -> None:
        """Have somebody look after the processes as long as there are any; the lock is held."""
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch_loop, name="previews", daemon=True).start()

    def _watch_loop(self) -> None:
        while True:
            time.sleep(_TICK)
            with self._lock:
                self._end_old()
                if not self._sessions and self._spare is None:
                    self._watching = False
                    return

    def _end_old(self) -> None:
        now = time.monotonic()
        for name, session in list(self._sessions.items()):
            process = session.process
            silent = now - process.asked_at
            if silent > (LEASE if process.running else KEPT):
                self._drop(name)
            elif process.running and now - process.began > LONGEST:
                process.end()
                process.failed = f"The replay took longer than {LONGEST:.0f} s and was ended. Choose fewer series."
        if self._spare is not None and now - self._spare.began > _SPARE:
            self._drop_spare()


def _without_receivers(job: JobConfig) -> dict[str, Any]:
    """Return a job without those who get its alerts: whom they name is not told to the process, and nobody is asked."""
    plain = _plain(job)
    plain.get("alert", {}).pop("receivers", None)
    return plain


def _plain(job: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dumped


def _source(config: Config) -> Mapping[str, Any]:
    cluster = config.train.scheduler if config.train.backend == "dask" else None
    return {"prometheus": _plain(config.prometheus), "limits": _plain(config.limits), "cluster": cluster}
