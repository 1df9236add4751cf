"""Nothing that a label, a job or an answer holds can become markup of the page."""

import numpy as np
import pytest
from jinja2 import UndefinedError

from exporter.report.data import JUDGED, Curves, Incident, JobFacts, Period, Report
from exporter.report.html_page import page
from exporter.templating import environment
from tests.report.test_report_page import Page

HOSTILE = "\"'><xb a=b>{{ 7 * 7 }}&\u202e"
SHOWN = HOSTILE.replace("\u202e", "\N{REPLACEMENT CHARACTER}")
PERIOD = Period.until("week", 1_772_400_000.0)


def hostile_report(**changes: object) -> Report:
    """A report with hostile text, marked with the name of its place, wherever a page inserts text."""
    steps = len(PERIOD.times)
    incident = Incident(
        job=f"{HOSTILE}job", key=((f"{HOSTILE}name", f"{HOSTILE}value"),), start=PERIOD.start, end=PERIOD.end,
        peak=6.5, alerted=True, source="audit", across_gap=True,
    )  # fmt: skip
    level = np.ones(50)
    curves = Curves(
        channel=f"{HOSTILE}channel", channels=2, times=PERIOD.times[:50], value=level, expected=level,
        lower=level - 1, upper=level + 1, flag=level > 0,
    )  # fmt: skip
    job = JobFacts(
        name=f"{HOSTILE}job", budget=1.0, states=np.full(steps, JUDGED, np.int8), source_down=np.ones(steps, np.bool_),
        open=np.ones(steps, np.int64), incidents=[incident], alerts=3,
        counts={("query_errors", f"{HOSTILE}kind"): 2.0, ("incidents_accepted", ""): 1.0},
        events=[(PERIOD.end, f"{HOSTILE}event")], backtest={"recall": (0.5, 0.75)},
    )  # fmt: skip
    fields = {
        "period": PERIOD, "made": PERIOD.end, "jobs": [job], "incidents": [incident],
        "shown": [(incident, curves), (incident, None)], "notes": [f"{HOSTILE}note"],
    }  # fmt: skip
    return Report(**(fields | changes))


def test_text_of_every_place_stays_text():
    seen = Page(page(hostile_report()))
    assert "xb" not in seen.tags
    assert {name for name, _ in seen.attributes} >= {"data-label", "style"}
    assert not [value for _, value in seen.attributes if value and "xb" in value]
    sections = seen.sections
    for section, places in {
        "": ("note",),
        "Anomalies over time": ("job",),
        "Jobs": ("job",),
        "Longest incidents": ("job", "name", "value", "channel"),
        "Entities most in trouble": ("job", "name", "value"),
        "Drift and retrains": ("job", "event"),
        "Precision and recall": ("job",),
        "Troubles of the exporter": ("job", "kind"),
    }.items():
        text = sections[section] if section else seen.text.split("\n§")[0]
        for place in places:
            assert f"{SHOWN}{place}" in text, (section, place)
    assert f"(accept): {SHOWN}job: 1." in sections["Drift and retrains"]
    assert "\u202e" not in seen.html


def test_rows_beyond_the_limit_of_a_table_are_counted():
    [job] = hostile_report().jobs
    events = [(PERIOD.end - number, "retrain promoted") for number in range(150)]
    job.events = events
    text = Page(page(hostile_report(jobs=[job]))).sections["Drift and retrains"]
    assert text.count("retrain promoted") == 100
    assert "50 more rows are left out." in text


def test_a_quiet_week_says_so_and_only_where_it_is_known():
    steps = len(PERIOD.times)
    quiet = JobFacts(
        name="a", budget=1.0, states=np.full(steps, JUDGED, np.int8), source_down=np.zeros(steps, np.bool_),
        open=np.zeros(steps, np.int64), alerts=0,
    )  # fmt: skip
    nothing = {"jobs": [quiet], "incidents": [], "shown": [], "notes": []}
    text = Page(page(hostile_report(**nothing))).text
    for sentence in (
        "Nothing was missing: every job was judged all the time.",
        "No entity was flagged.",
        "No drift was seen and nothing was retrained.",
        "No backtest has published quality metrics: whether the alerts were right is unknown",
        "None was counted.",
    ):
        assert sentence in text
    assert "But only" not in text
    quiet.states[: steps // 2] = 0
    text = Page(page(hostile_report(**nothing))).text
    assert "No entity was flagged. But only 50 % of the time is known." in text


def test_a_template_escapes_values_and_refuses_a_name_that_nobody_passed():
    template = environment("exporter.report").from_string('<p title="{{ title }}">{{ text }}</p>')
    assert template.render(title='"><script>', text='<&"\x00\u202e') == (
        '<p title="&#34;&gt;&lt;script&gt;">&lt;&amp;&#34;\ufffd\ufffd</p>'
    )
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        template.render(title="")
