"""What people read of deploys and of series that have ended, wherever they look."""

from dataclasses import replace

import msgspec
import numpy as np

from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.deploys import GRID, Deploy
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.context_watch import ContextWatch, targets_of
from exporter.sinks.audit_rows import AuditRowFormatter
from exporter.sinks.latest import Matcher
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.message import compose
from exporter.sinks.notify.notification import PendingNotifications, incident_of
from exporter.source.errors import SourceError
from exporter.web.mcp import texts
from exporter.web.ui.answer_form import AnswerForm
from exporter.web.ui.history import History
from exporter.web.ui.now import incident, now_answer
from exporter.web.ui.pages import series_page
from exporter.web.ui.series import Asked, series_answer
from exporter.web.ui.series_answers import Series
from tests.sinks.test_incident_lines import with_readings
from tests.support.fake import FakeSource
from tests.support.pages import Watched
from tests.support.verdicts import key, verdict

CART, SHOP = key(service="cart"), key(service="shop")


def flagged(since: float, *deploys: Deploy):
    found = verdict((CART, SHOP), flag=[True, False], since=[since, np.nan], score=[4.0, 0.1])
    return replace(with_readings(found, 0, start=[since], at=[since]), deploys={0: deploys} if deploys else {})


def test_an_incident_says_after_what_deploy_it_began_wherever_it_is_told() -> None:
    found = flagged(1000.0, Deploy(1000.0 - 745, CART, "v1.8.2"))
    page = Page(SelfMetrics())
    page.publish(found, ())
    page.render()
    lines = page.current.body.decode().splitlines()
    (line,) = [each for each in lines if 'after_deploy_seconds{deployed="cart v1.8.2",service="cart",' in each]
    assert line.endswith(" 745.0")
    (row,) = AuditRowFormatter(all_samples=False).of(found)
    assert row.decode().rstrip().endswith(',"12 min after cart v1.8.2",,,')
    told = incident_of(found, 0, {})
    assert told.deployed == "12 min after cart v1.8.2"
    text = compose(PendingNotifications({"cpu": [told]}, {}, {}, {"cpu": 1}, {"cpu": 2}), "", 1060.0)
    assert text.splitlines()[1].startswith("12 min after cart v1.8.2; worst at ")


def test_a_name_from_the_source_cannot_break_the_page_or_the_audit_file() -> None:
    found = flagged(1000.0, Deploy(900.0, key(service='=a"\n\\,b'), "v1"))
    page = Page(SelfMetrics())
    page.publish(found, ())
    page.render()
    (line,) = [each for each in page.current.body.decode().splitlines() if "after_deploy_seconds{" in each]
    assert '\\"' in line
    (row,) = AuditRowFormatter(all_samples=False).of(found)
    assert row.count(b"\n") == 1


def test_the_pages_and_language_models_are_told_too() -> None:
    shown = Watched()
    at = shown.now - 600
    found = replace(flagged(at, Deploy(at - 300, CART, "v2")), time=shown.now)
    shown.show(found)
    shown.deploys = [Deploy(at - 300, CART, "v2"), Deploy(at - 90_000, CART, "v1")]
    answer = series_answer(shown.running, History(shown.read), Asked("cpu", (Matcher("service", "cart"),)), shown.now)
    assert isinstance(answer, Series)
    assert [each.name for each in answer.deploys] == ["cart v2"]
    assert answer.incident is not None
    page = series_page(answer, Asked("cpu"), AnswerForm("", "cpu", at, [], "not here", "", "", True, False, {}))
    assert "5 min after cart v2" in page
    assert "Deployed in this time" in page
    told = texts.explained(msgspec.to_builtins(answer), [])
    assert "began 5 min after cart v2" in told
    open_now = incident(found, 0, shown.facts().jobs["cpu"], shown.now)
    assert open_now.deploy == "5 min after cart v2"


def test_series_that_have_ended_are_told_with_their_reason() -> None:
    shown = Watched()
    gone = {key(service=f"s{n}"): "down" if n < 2 else "replaced" for n in range(9)}
    found = replace(verdict((CART, SHOP), flag=[False, False]), vanished=gone, time=shown.now)
    shown.show(found)
    page = Page(SelfMetrics())
    page.publish(found, ())
    page.render()
    body = page.current.body.decode()
    assert body.count("anomaly_series_vanished{") == 9
    assert 'anomaly_series_vanished{reason="down",service="s0",query="cpu",' in body
    unseen = {each.kind: each.text for each in now_answer(shown.running, shown.now).unseen}
    assert unseen["series_vanished"] == "2 series ended with their target, which is down: service=s0; service=s1."
    assert "service=s0" in texts.now(msgspec.to_builtins(now_answer(shown.running, shown.now)))


class Watching:
    """A watcher of one job with a source in memory."""

    def __init__(self) -> None:
        self.source, self.metrics = FakeSource(), SelfMetrics()
        self.config = JobConfig.model_validate({"expr": "load", "deploys": {"presets": [], "expr": "deploys"}})
        self.job = Job(JobSettings("load", self.config), self.source)
        self.watch = ContextWatch(
            DeployBook(self.source), lambda: [self.config.deploys], lambda: [self.job], self.metrics
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"anomaly_exporter_{name}", labels)


NOW = 1_700_000_040.0


def test_deploys_are_published_and_questions_counted() -> None:
    watching = Watching()
    watching.source.put("deploys", {"service": "cart", "version": "v2"}, {NOW - 5 * GRID: 1.0})
    watching.watch.tick(NOW)
    assert watching.value("deploy_timestamp_seconds", deploy="cart v2") == NOW - 5 * GRID
    assert watching.value("deploy_queries_total", outcome="success") == 2  # a day, and a minute
    watching.source.error = SourceError("no answer")
    watching.watch.tick(NOW + 120)
    assert watching.value("deploy_queries_total", outcome="error") == 1
    assert watching.value("deploy_timestamp_seconds", deploy="cart v2") == NOW - 5 * GRID


def test_a_watcher_finds_the_reason_and_waits_while_the_source_does_not_answer() -> None:
    watching = Watching()
    presence, keys = watching.job.learnt.presence, (key(job="web", instance="a"), key(job="web", instance="b"))
    for minute in range(30):
        presence.take(keys, np.ones(2, np.bool_), NOW + 60 * minute, True, True)
    gone = np.array([False, True])
    at = NOW + 1800
    presence.take(keys, gone, at, True, True)
    watching.source.error = SourceError("no answer")
    watching.watch.look(watching.job, at)
    assert presence.take(keys, gone, at + 60, True, True) == {}
    watching.source.error = None
    for name, alive in (("a", 0.0), ("b", 1.0)):
        watching.source.put('up{job=~"web"}', {"__name__": "up", "job": "web", "instance": name}, {at + 60: alive})
    watching.watch.look(watching.job, at + 60)
    assert presence.take(keys, gone, at + 120, True, True) == {keys[0]: "down"}


def test_targets_are_narrowed_down_by_their_jobs() -> None:
    assert targets_of([key(job="a.b"), key(job="c")]) == 'up{job=~"a\\\\.b|c"}'
    assert targets_of([key(job="a"), key(queue="x")]) == "up"
    assert targets_of([key(job=f"j{n}") for n in range(99)]) == "up"
