"""The demo without servers: the real cycle and metrics page, with recorded series of the shop."""

import json
import time
from collections.abc import Iterable
from typing import Final

import numpy as np
from rich.console import Console

from deploy.demo.screen import Screen
from deploy.demo.shop import BROKEN, FACTOR, METRIC, PAGES, labels, slowdown, usual
from deploy.demo.stack import JOB, SHOP_JOB, STEP
from deploy.demo.story import Reading, Story, readings
from detectors import Floats
from exporter import exposition
from exporter.config.sections.root import Config
from exporter.observe import logs
from exporter.observe.job_metrics import JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.runner import Runner
from exporter.sinks.base import Sink
from exporter.sinks.incident_log import IncidentLog
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.metrics_page import Page
from exporter.sinks.recent import RecentVerdicts
from exporter.sinks.registry import Sinks
from exporter.source.samples import RangeResult
from exporter.web.server import Callbacks, Server
from exporter.web.ui.facts import Facts, JobFacts, Running

MILESTONES: Final = ("anomaly_score above 1", "anomaly_flag 1", "anomaly_alert 1", "incident closed")
BEGIN: Final = 1_767_600_000.0
"""Unix seconds of the first sample."""
STEPS: Final = 110
FAULT_AT, MEND_AT = BEGIN + 40 * STEP, BEGIN + 80 * STEP
PACE: Final = 0.2
"""Seconds of real time per step."""


class ReplaySource:
    """A source with the recorded latencies of the shop; the same in every run.

    Parameters
    ----------
    shift : float
        Seconds by which the recording is moved, so that pages show it as of now.
    """

    def __init__(self, shift: float = 0.0) -> None:
        self._shift = shift

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        """Return the recorded samples from `start` to `end`; see `Source`."""
        del expr, max_series  # there is only one recording, with three series
        times: Floats = start + step * np.arange(round((end - start) / step) + 1, dtype=np.float64)
        values = np.concatenate([recorded(page, times - self._shift) for page in PAGES])
        series = [json.dumps({"__name__": METRIC, **labels(page)}).encode() for page in PAGES]
        return RangeResult(series, np.full(len(PAGES), len(times)), np.tile(times, len(PAGES)), values)

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Return gauge for every metric: the recording has no counters."""
        return dict.fromkeys(names, "gauge")


def recorded(page: str, times: Floats) -> Floats:
    """Return the latencies in seconds at `times` (Unix seconds), shape (T,); the same for the same times."""
    number = list(PAGES).index(page)
    noise = [np.random.default_rng([number, int(moment)]) for moment in times]
    values = np.array([usual(page, times[i : i + 1], rng)[0] for i, rng in enumerate(noise)])
    broken = (page == BROKEN) & (times < MEND_AT)
    return np.where(broken, values * slowdown(times - FAULT_AT), values)


def run(console: Console, duration: float | None) -> int:
    """Replay the recording; return 0 if score, flag, alert and the end of the incident were published."""
    # The recording answers whatever it is asked: nobody could count what there was before.
    of_recording = {**SHOP_JOB, "rate": False}
    config = Config.model_validate(
        {"web": {"listen": "127.0.0.1:0"}, "log": {"level": "error"}, "jobs": {JOB: of_recording}}
    )
    logs.configure(config.log)
    metrics = SelfMetrics()
    page = Page(metrics)
    recent, past, feed = RecentVerdicts(), IncidentLog(), LatestVerdicts()
    shown: dict[str, Sink] = {"recent": recent, "incident_log": past, "latest": feed}
    sinks = Sinks(metrics, {"job_gauges": JobGauges(metrics), "metrics_page": page, **shown})
    sinks.prepare(config).commit()
    shop, shift = config.jobs[JOB], time.time() // STEP * STEP - BEGIN
    source = ReplaySource(shift)
    job = Job(JobSettings(JOB, shop), source, JobMetrics(metrics, JOB, shop.detector_name))
    runner = Runner(job, Telemetry(metrics), sinks)
    began = time.time()
    running = Running(
        lambda: Facts(config, "", {JOB: JobFacts(shop, runner.health)}, began, began), feed, recent, past, source.range
    )
    hooks = Callbacks(lambda: runner.published, lambda: "nothing to reload in a replay", feed, running=running)
    server = Server(config.web, page, hooks)
    with Screen(console, "anomaly-exporter demo on recorded series, without servers") as screen:
        story = Story(MILESTONES, screen.say)
        server.start()
        try:
            host, port = server.address
            screen.open_at({"exporter": f"http://{host}:{port}/"})
            screen.say(f"{STEP:g}s pass in {PACE:g}s; {BROKEN} becomes {FACTOR:g} times slower after a while")
            pace = PACE if duration is None else min(PACE, duration / STEPS)
            for step in range(STEPS):
                now = BEGIN + step * STEP
                runner.cycle(now + shift)
                rows = readings(list(exposition.read(page.current.body.decode())))
                screen.show(rows)
                watch(story, screen, page, now, next(row for row in rows if row.broken))
                time.sleep(pace)
        finally:
            server.stop()
    if story.complete:
        console.print(f"seen: {', '.join(story.seen)}", soft_wrap=True)
        return 0
    console.print(f"not seen: {', '.join(story.missing)}", soft_wrap=True)
    return 1


def watch(story: Story, screen: Screen, page: Page, now: float, row: Reading) -> None:
    """Check which milestones the newest reading shows."""
    for moment, text in (
        (FAULT_AT, f"fault: {BROKEN} gets slower"),
        (MEND_AT, f"the fault ends: {BROKEN} is as fast as before"),
    ):
        if now == moment:
            screen.say(text, "bold")
    after = now - FAULT_AT
    if after >= 0:
        score, flag, alert, closed = MILESTONES
        story.note(score, row.score > 1, after, f"{row.score:.3g}")
        story.note(flag, row.flag == 1, after, "an incident is open")
        if story.note(alert, row.alert == 1, after, "the generated rule would fire; metrics now"):
            for line in page.current.body.decode().splitlines():
                if f'page="{BROKEN}"' in line:
                    screen.say(line)
        story.note(closed, now > MEND_AT and row.flag == 0, after, "its samples were not learned as normal")
