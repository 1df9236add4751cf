"""What people are told of a limit that is near: on the page, by the API, by language models, as metrics."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from exporter import forecast_wording as wording
from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.reaches import Cone, Reaches
from exporter.sinks.audit_files import rows_of
from exporter.sinks.audit_rows import COLUMNS, EARLIER, HEADER, AuditRowFormatter, timestamp
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.notification import incident_of
from exporter.web.mcp import texts
from exporter.web.ui.answer_form import AnswerForm
from exporter.web.ui.history import History
from exporter.web.ui.now import now_answer
from exporter.web.ui.pages import headline, now_page, series_page
from exporter.web.ui.series import Asked, Matcher, series_answer
from tests.context.test_told import CART, SHOP, Watched, verdict

HOUR = 3600.0
NOW = 1_764_536_400.0  # Sunday, 30 November 2025, 21:00
STATES = {"ahead": 1, "reached": 0, "not_in_sight": 0, "learning": 1}


def shown():
    """Return what is watched: the cart's disk may be full within hours, and nothing is known of the other."""
    watched = Watched()
    facts = watched.facts()
    config = JobConfig.model_validate({"expr": "free_bytes", "direction": "below", "forecast": {"limit": 0}})
    job = replace(facts.jobs["cpu"], config=config)
    watched.facts = lambda: replace(facts, jobs={"cpu": job})
    ends = (np.array([watched.now + hours * HOUR, np.nan]) for hours in (7.0, 10.0, 14.0))
    values = np.array([[12 * 2.0**30], [1.0]])
    watched.verdict = replace(
        verdict((CART, SHOP), flag=[False, False]), values=values, time=watched.now,
        reaches=Reaches(0.0, 0, *ends, STATES),
    )  # fmt: skip
    watched.show(watched.verdict)
    return watched


def test_now_names_what_is_near_its_limit_and_says_of_what_too_little_is_known():
    watched = shown()
    answer = now_answer(replace(watched.running, facts=watched.facts), watched.now)
    assert (answer.near, len(answer.limits)) == (1, 1)
    assert answer.limits[0].text.startswith("reaches 0 B between ")
    assert answer.limits[0].text.endswith(", at -1.2 GiB an hour; now 12 GiB")
    assert answer.limits[0].early < answer.limits[0].expected < answer.limits[0].late
    unseen = {each.kind: each.text for each in answer.unseen}
    assert unseen["series_learning"].startswith("When 1 series reach 0 B is not known")
    assert headline(answer)["told"] == "1 limit near"
    page = now_page(answer, watched.running)
    assert "Near their limit" in page
    assert "-1.2 GiB an hour" in page
    told = texts.now(msgspec.to_builtins(answer))
    assert "LIMIT cpu/" in told
    assert "at -1.2 GiB an hour" in told


def test_the_page_of_a_series_and_its_explanation_say_it_too():
    watched = shown()
    asked = Asked("cpu", (Matcher("service", "cart"),))
    running = replace(watched.running, facts=watched.facts)
    answer = series_answer(running, History(watched.read), asked, watched.now)
    assert answer.limit.startswith("reaches 0 B between ")
    assert "It reaches 0 B between " in texts.explained(msgspec.to_builtins(answer), [])


def test_what_is_not_known_is_no_line_and_not_in_sight_is_infinite():
    found = shown().verdict
    ends = (np.array([at, np.nan]) for at in (np.inf, np.inf, np.inf))
    page, metrics = Page(SelfMetrics()), SelfMetrics()
    page.publish(replace(found, reaches=Reaches(0.0, 0, *ends, STATES)), ())
    page.render()
    body = page.current.body.decode()
    lines = [line for line in body.splitlines() if line.startswith("anomaly_forecast_reaches_limit")]
    assert len(lines) == 3
    assert all('service="cart"' in line and line.endswith(" +Inf") for line in lines)
    JobGauges(metrics).show(found, JobConfig.model_validate({"expr": "x"}))
    value = metrics.registry.get_sample_value("anomaly_exporter_forecast_series", {"query": "cpu", "state": "learning"})
    assert value == 1


def test_the_audit_file_has_the_interval_and_reads_rows_from_before_it(tmp_path):
    found = shown().verdict
    found = replace(found, flag=np.array([True, True]))
    written = AuditRowFormatter(all_samples=False).of(found)
    file = tmp_path / "audit.csv"
    file.write_bytes(HEADER + b"".join(written))
    known, unknown = ([*rows_of(file)][row][-3:] for row in (0, 1))
    assert known == [timestamp(found.time + hours * HOUR) for hours in (7, 10, 14)]
    assert unknown == ["", "", ""]
    never = (np.array([at, np.inf]) for at in (np.inf,) * 3)
    rows = AuditRowFormatter(all_samples=False).of(replace(found, reaches=Reaches(0.0, 0, *never, STATES)))
    assert rows[0].endswith(b",inf,inf,inf\n")
    for header, count in EARLIER.items():
        old = b",".join(rows[0].split(b",")[:count]) + b"\n"
        file.write_bytes(header + rows[0].replace(b",inf,inf,inf", b"") if count == 19 else header + old)
        assert all(cells == [] or cells[count:] == [""] * (len(COLUMNS) - count) for cells in rows_of(file))


def test_the_page_draws_what_may_come_until_the_limit():
    watched = shown()
    hours = np.arange(5.0)
    cone = Cone(0.0, 0, watched.now + HOUR * (hours - 4), 20.0 - hours, watched.now + HOUR * hours, 16 - 3 * hours,
                16 - 2 * hours, 16 - hours)  # fmt: skip
    running = replace(watched.running, facts=watched.facts, cone=lambda job, key, now: cone if key == CART else None)
    answer = series_answer(running, History(watched.read), Asked("cpu", (Matcher("service", "cart"),)), watched.now)
    assert answer.forecast.early == [16, 13, 10, 7, 4]
    form = AnswerForm("", "cpu", watched.now, [], "not here", "", "", True, False, {})
    page = series_page(answer, Asked("cpu"), form)
    assert "Until its limit, 0" in page
    assert page.count('<path class="band"') == 1 + (answer.curves[0].lower != [])
    other = series_answer(running, History(watched.read), Asked("cpu", (Matcher("service", "shop"),)), watched.now)
    assert other.forecast is None
    assert "Until its limit" not in series_page(other, Asked("cpu"), form)


def test_a_message_on_an_incident_says_that_its_limit_is_near():
    found = replace(shown().verdict, flag=np.array([True, False]), since=np.array([1.0, np.nan]))
    [told] = [incident_of(found, 0, {"value": "bytes"})]
    assert told.limit == wording.soon(0.0, found.time + 7 * HOUR, found.time + 10 * HOUR, found.time, "bytes")
    assert told.limit.startswith("may reach 0 B from ")
    far = replace(found, reaches=replace(found.reaches, within=HOUR))
    assert incident_of(far, 0, {}).limit == ""
    there = (np.full(2, found.time - HOUR) for _ in range(3))
    assert incident_of(replace(found, reaches=Reaches(0.0, 0, *there, STATES)), 0, {}).limit.startswith(
        "has been at 0 "
    )


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((7, 10, 14), "reaches 100% between Mon 1 Dec 04:00 and Mon 1 Dec 11:00 UTC, most likely Mon 1 Dec 07:00, "
         "at 1% an hour; now 90%"),
        ((7, 10, np.inf), "reaches 100% from Mon 1 Dec 04:00 UTC on, most likely Mon 1 Dec 07:00; it may also stop "
         "before, at 1% an hour; now 90%"),
        ((7, np.inf, np.inf), "may reach 100% from Mon 1 Dec 04:00 UTC on; more likely it stops before; now 90%"),
        ((-2, -2, -2), "has been at 100% or beyond since Sun 30 Nov 19:00 UTC (2 h 0 min); now 90%"),
        ((np.inf, np.inf, np.inf), "does not reach 100%, as far as its past tells; now 90%"),
        ((np.nan, np.nan, np.nan), "may reach 100% or not: too little is known of it to say when; now 90%"),
    ],
)  # fmt: skip
def test_each_case_has_its_words(ends, said):
    assert wording.reaches(1.0, *(NOW + HOUR * each for each in ends), NOW, 0.9, "ratio") == said
