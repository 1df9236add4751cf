"""The process of one replay. It reads a line, replays, and answers further lines.

It ends when its standard input does, so it never outlives the exporter, and gives way to every other process.
"""

import os
import queue
import sys
import threading
import time
import traceback
from contextlib import closing
from functools import partial
from typing import Final

import msgspec

from exporter.backtest.overview import NOTHING, overview
from exporter.backtest.overview_output import gaps
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.json_values import finite
from exporter.observe.progress import Bar
from exporter.parallel.spread import HERE, Where
from exporter.parallel.task import SpreadError
from exporter.preview import messages
from exporter.preview.outcome import MOST_LISTED, Outcome, told
from exporter.preview.replayed import (
    MOST_SAMPLES,
    CannotReplay,
    TapeTask,
    at_step,
    coarse_step,
    reach,
    replayed,
    tape_task,
)
from exporter.preview.tape import Tape
from exporter.promql import format_duration
from exporter.source.errors import DeadlineExceeded, LimitExceeded, SourceError
from exporter.source.prometheus import Prometheus
from exporter.web.ui.bench import Choice
from exporter.web.ui.preview_answers import Past, PastJob

_TELL_EVERY: Final = 0.3
"""Seconds between two reports of progress."""
_LOOK: Final = 0.1
"""Seconds between two looks for questions while a cluster works."""
_NICE, _NICE_TO_DECIDE = 15, 5
"""How far a replay gives way to other processes, and how far a first look and moves do: people wait for them."""
_OUT: Final = os.fdopen(os.dup(1), "wb")


class Worker:
    """One replay."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outcome: Outcome | None = None
        self._told = 0.0
        self._why_here = ""

    def run(self) -> None:
        """Answer until standard input ends."""
        threading.Thread(target=self._read, daemon=True).start()
        question = messages.ASKED.decode(self._lines.get())
        # The long work has a thread of its own, because how far a thread gives way cannot be taken back.
        replaying = threading.Thread(target=self._work, args=(question,), daemon=True)
        replaying.start()
        replaying.join()
        while True:
            self._answer(self._lines.get())

    def _work(self, question: messages.Asked) -> None:
        try:
            if isinstance(question, messages.Try):
                self._try(question)
            elif isinstance(question, messages.LookBack):
                self._look_back(question)
        except (CannotReplay, SourceError) as error:
            _tell(messages.Failed(_what_to_do(error)))
        except MemoryError:
            _tell(messages.Failed("There is too little memory for this replay. Choose fewer series."))
        except Exception as error:  # a defect: this process can only tell it
            text = f"The replay failed with {type(error).__name__}; the exporter's log says more."
            _tell(messages.Failed(text, traceback.format_exc()))

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self._lines.put(line)
        os._exit(0)

    def _try(self, asked: messages.Try) -> None:
        job = JobConfig.model_validate(asked.job)
        limits = LimitsConfig.model_validate(asked.limits).model_copy(update={"samples": 2 * MOST_SAMPLES})
        with closing(Prometheus(PrometheusConfig.model_validate(asked.prometheus), limits)) as source:
            self.report(0.0, "asking how many series there are")
            oldest, _ = reach(source, job, asked.start - asked.learn, asked.end)
            learn = min(asked.learn, (asked.end - oldest) / 4)
            start = max(asked.start, oldest + learn)
            coarse = coarse_step(job, asked.end - start + learn)
            if coarse > job.step:
                rough = (
                    f"A first look, judged every {format_duration(coarse)} only: short incidents are missing. The "
                    f"replay of every {format_duration(job.step)} goes on and takes its place."
                )
                look = replayed(
                    source, asked.name, at_step(job, coarse), start, asked.end, learn, lambda _: self._pump(0.0), rough
                )
                self._show("first look", look, learn)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            task = TapeTask(
                PrometheusConfig.model_validate(asked.prometheus), limits, asked.name, job, start, asked.end, learn
            )
            outcome = None if asked.cluster is None else self._on_cluster(task, asked.cluster)
            outcome = outcome or replayed(source, asked.name, job, start, asked.end, learn, self._pump)
        self._show("exact", outcome, learn)

    def _on_cluster(self, task: TapeTask, cluster: str) -> Outcome | None:
        """Return the outcome of a replay on a Dask cluster, None where that does not work: it is then done here."""
        ended: queue.SimpleQueue[tuple[JobConfig, Tape, int] | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                ended.put(Where("dask", cluster).each(tape_task, [task], "replaying")[0])
            except SpreadError as error:
                self._why_here = f" here: {error}"
                ended.put(None)

        threading.Thread(target=work, daemon=True).start()
        while True:
            try:
                found = ended.get(timeout=_LOOK)
            except queue.Empty:  # meanwhile moves on the first look are answered
                self._pump(0.0, "replaying every sample on the Dask cluster")
            else:
                return None if found is None else Outcome(task.name, *found)

    def _show(self, state: str, outcome: Outcome, learn: float) -> None:
        self._outcome = outcome
        tape = outcome.tape
        _tell(
            messages.Shown(
                state,  # type: ignore[arg-type]  # one of two
                float(tape.times[outcome.first]),
                float(tape.times[-1]),
                outcome.job.step,
                learn,
                len(tape.keys),
                int(tape["there"].sum()) * tape["value"].shape[2],
            )
        )

    def _pump(self, share: float, doing: str = "") -> None:
        """Say how far it is, and answer what was asked in the meantime."""
        every = f"replaying every sample{self._why_here}: {share:.0%}"
        self.report(share, doing or (every if share else "taking a first look"))
        while not self._lines.empty():
            self._answer(self._lines.get())

    def report(self, share: float, text: str) -> None:
        """Say how far it is, unless that was said just now."""
        if time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            _tell(messages.Progress(min(share, 1.0), text))

    def _answer(self, line: bytes) -> None:
        asked = messages.ASKED.decode(line)
        if isinstance(asked, messages.Decide) and self._outcome is not None:
            choice = Choice(asked.direction, asked.least_deviation, asked.budget)
            _tell(messages.Answer(asked.number, self._outcome.decide(choice, asked.rows)))

    def _look_back(self, asked: messages.LookBack) -> None:
        config = Config.model_validate({"prometheus": asked.prometheus, "limits": asked.limits, "jobs": asked.jobs})
        jobs = {name: config.jobs[name] for name in asked.wanted}
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        where = HERE if asked.cluster is None else Where("dask", asked.cluster)
        if not where.is_here:
            self.report(0.0, "judging on the Dask cluster")
        found = overview(
            config, jobs, asked.start, asked.end, hold=True, make_bar=partial(_Reported, self), where=where
        )
        if found.code == NOTHING:
            raise CannotReplay(" ".join(gaps(found)) or "No job could be judged.")
        errors = {job.name: job.error for job in found.jobs}
        incidents = sorted(found.incidents, key=lambda each: (not each.alerted, -each.severity))[:MOST_LISTED]
        _tell(
            messages.Found(
                Past(
                    jobs=[
                        PastJob(
                            job=job.name,
                            entities=len(job.past.entities),
                            judged=job.past.share_judged,
                            incidents=len(job.past.found) if job.past.judged else None,
                            alerts=job.past.alerts if job.past.judged else None,
                            budget=finite(job.budget(found.seconds)),
                            error=errors[job.name],
                        )
                        for job in found.jobs
                    ],
                    found=len(found.incidents),
                    incidents=[told(each, jobs[each.job]) for each in sorted(incidents, key=lambda each: each.start)],
                )
            )
        )


class _Reported(Bar):
    """A progress bar that the exporter is told of."""

    def __init__(self, worker: Worker, total: int) -> None:
        super().__init__(total)
        self._worker, self._total, self._units, self._doing = worker, max(total, 1), 0, "reading"

    def add(self, units: int, times: int = 1) -> None:
        """Count `units` more as done, so many `times`."""
        self._units += units * times
        self._worker.report(self._units / self._total, self._doing)

    def describe(self, doing: str) -> None:
        """Say that something else is being done now."""
        self._doing = doing
        self._worker.report(self._units / self._total, doing)


def _what_to_do(error: CannotReplay | SourceError) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, LimitExceeded | DeadlineExceeded):
        return (
            f"The expression is too expensive for the source: {text}. Choose fewer series by labels, a shorter time in "
            "square brackets, a longer step or a shorter range."
        )
    return f"{text[:1].upper()}{text[1:]}"


def _tell(message: messages.Told) -> None:
    _OUT.write(msgspec.json.encode(message) + b"\n")
    _OUT.flush()


def main() -> None:
    """Give way to other processes, and work."""
    os.nice(_NICE_TO_DECIDE)
    os.dup2(2, 1)  # what is logged or printed is no message
    Worker().run()
