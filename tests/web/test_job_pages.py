"""The pages of the jobs: a fleet over time, models, quality and cost."""

import dataclasses

import httpx
import jsonschema
import numpy as np
import pytest

from exporter.source.errors import Unreachable
from exporter.source.samples import RangeResult
from exporter.web.ui.facts import JobDetails
from exporter.web.ui.job_answers import StoredModel
from exporter.web.ui.openapi import document
from tests.support.pages import STEP, Watched
from tests.support.verdicts import key
from tests.support.visit import faults, visit

A, B, C = key(instance="a"), key(instance="b"), key(instance="<script>alert(1)</script>")


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def get(serve, watched):
    url = serve(running=watched.running).url

    def get(path: str, status: int = 200) -> httpx.Response:
        answer = httpx.get(f"{url}/{path}", trust_env=False, timeout=30)
        assert answer.status_code == status, answer.text
        return answer

    return get


def ask(get, range_: str = "6h") -> dict:
    """Return the answer, which must be as the document says."""
    answer = get(f"api/v1/job?job=cpu&range={range_}").json()
    schema = document()["paths"]["/api/v1/job"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": document()["components"]})
    return answer


def test_series_with_incidents_are_shown_over_time_the_worst_first(get, watched):
    watched.minutes((A, B, C), 60, lambda ago: [40 < ago < 50, ago < 20, False])
    answer = ask(get)
    assert [row["labels"]["instance"] for row in answer["rows"]] == ["a", "b"]
    (span,) = answer["rows"][0]["open"]
    assert span[1] - span[0] == pytest.approx(9 * STEP)
    assert (answer["series"], answer["found"], answer["job"]["open"]) == (3, 2, 1)
    page = get("job?job=cpu&range=6h").text
    assert page.count('class="strip"') == 2
    assert "1 incident, 1 alert" in page  # for those who cannot see the picture


def test_what_lies_before_the_memory_comes_from_prometheus(get, watched):
    watched.minutes((A,), 5, lambda ago: [ago < 2])
    old = watched.incidents.began - 7200.0
    asked = []

    def read(expr, start, end, step):
        asked.append(expr)
        labels = [b'{"query":"cpu","detector":"auto","instance":"b"}']
        return RangeResult(labels, np.array([2]), np.array([old, old + step]), np.ones(2))

    watched.read = read
    rows = {row["labels"]["instance"]: row for row in ask(get)["rows"]}
    assert set(rows) == {"a", "b"}
    (span,) = rows["b"]["open"]
    assert span[0] < old < span[1]
    assert "anomaly_flag" in asked[0]
    assert 'query="cpu"' in asked[0]


def test_a_source_that_does_not_answer_takes_nothing_away_that_is_known(get, watched):
    watched.minutes((A,), 5, lambda ago: [ago < 2])

    def read(*_):
        raise Unreachable("nobody is there")

    watched.read = read
    answer = ask(get)
    assert len(answer["rows"]) == 1
    assert "nobody is there" in answer["notes"][0]


def test_models_are_compared_and_going_back_is_a_command_to_copy(serve, watched):
    changed = {"parameters.window": ["30", "60"]}
    models = [StoredModel("v2", True, "2026-01-05", "passed", False, "", {}),
              StoredModel("v1", False, "2026-01-04", "passed", False, "", changed)]  # fmt: skip
    details = JobDetails(models, quality={"recall": 0.9, "f1": None}, quality_at=1e9, samples=12_345.0,
                         stages={"score": 1.5})  # fmt: skip
    watched.details = lambda _: details
    page = httpx.get(f"{serve(running=watched.running).url}/job?job=cpu", trust_env=False).text
    assert "models rollback --job cpu --version v1" in page
    assert "parameters.window: 30 / 60" in page
    assert "12,345" in page
    assert "0.9" in page


def test_going_back_to_a_model_is_one_click_where_people_may_act(serve, watched, tmp_path):
    watched = Watched(state={"path": str(tmp_path)})
    details = JobDetails([
        StoredModel("v3", False, "2026-01-06", "rejected: worse", True, "", {}),
        StoredModel("v2", True, "2026-01-05", "passed", False, "", {}),
        StoredModel("v1", False, "2026-01-04", "passed", False, "", {"parameters.window": ["30", "60"]}),
    ])  # fmt: skip
    watched.details = lambda _: details
    chosen = []
    running = dataclasses.replace(watched.running, activate=lambda *given: chosen.append(given))
    for script in (True, False):
        with visit(f"{serve(running=running, actions=True).url}/job?job=cpu", script=script) as page:
            assert page.locator("form[action=job] button").count() == 1  # not for one that the gate rejected
            assert faults(page) == [] if script else True
            page.click("text=Make active")
            page.wait_for_url("**/job?job=cpu#models")
    assert chosen == [("cpu", "v1", "v2", "somebody without a login")] * 2


def test_no_other_page_and_no_stale_form_chooses_a_model(serve, tmp_path):
    chosen = []
    running = dataclasses.replace(Watched(state={"path": str(tmp_path)}).running,
                                  activate=lambda *given: chosen.append(given))  # fmt: skip
    fields = {"job": "cpu", "version": "v1", "active": "v2", "token": "wrong"}
    for actions, headers, status in (
        (True, {}, 403), (True, {"Origin": "https://evil.example"}, 403), (False, {}, 403),
        (True, {"Content-Type": "text/plain"}, 415),
    ):  # fmt: skip
        url = serve(running=running, actions=actions).url
        assert httpx.post(f"{url}/job", data=fields, headers=headers, trust_env=False).status_code == status
    assert not chosen


def test_every_job_is_listed_and_unknown_ones_are_told(get, watched):
    watched.minutes((C,), 3, lambda ago: [True])
    assert 'href="job?job=cpu"' in get("jobs").text
    assert "<script>alert" not in get("job?job=cpu").text
    assert "renamed or removed" in get("job?job=%3Cscript%3E", 404).text
    assert "job is missing" in get("job", 400).text
    assert "range must be" in get("api/v1/job?job=cpu&range=1y", 400).json()["error"]


def test_a_job_whose_series_all_vanished_does_not_look_healthy(get, watched):
    watched.minutes((A,), 5, lambda _: [False])
    watched.minutes((), 1, lambda _: [])
    (job,) = get("api/v1/jobs").json()["jobs"]
    assert (job["state"], job["text"].split(":")[0]) == ("empty", "Its queries give no series any more")
    assert "cpu" in get("api/v1/now").json()["unseen"][0]["jobs"]
