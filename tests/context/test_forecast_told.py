"""What people are told of a limit that is near: on the page, by the API, by language models, as metrics."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from exporter import forecast_wording as wording
from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.reaches import Reaches
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.metrics_page import Page
from exporter.web.mcp import texts
from exporter.web.ui.history import History
from exporter.web.ui.now import now_answer
from exporter.web.ui.pages import headline, now_page
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
