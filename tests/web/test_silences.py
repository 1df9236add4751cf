"""Silences from the pages, in a real Alertmanager."""

import re
import time

import httpx
import pytest

from tests.support.pages import Watched
from tests.support.receivers import tell
from tests.support.verdicts import key
from tests.support.waiting import eventually

A = key(**{"instance": "a", "query": "of its own", "path": '/x"y\\z', "empty": "", "service.name": "cart"})
LABELS = {
    "alertname": "AnomalyCpu",
    "query": "cpu",
    "instance": "a",
    "exported_query": "of its own",
    "path": '/x"y\\z',
    "service_name": "cart",  # as a server before Prometheus 3 has scraped it
}


@pytest.mark.servers
def test_an_alert_is_silenced_by_its_own_labels_until_the_answer_is_taken_back(serve, alertmanager, tmp_path):
    server = alertmanager()
    train = {"alertmanager": {"url": server.url}}
    watched = Watched(jobs={"cpu": {"expr": "x"}}, state={"path": str(tmp_path / "state")}, train=train)
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    tell(server, LABELS, LABELS | {"instance": "b"})

    def states() -> dict[str, str]:
        alerts = httpx.get(f"{server.url}/api/v2/alerts", trust_env=False).json()
        return {each["labels"]["instance"]: each["status"]["state"] for each in alerts}

    with httpx.Client(base_url=serve(running=watched.running, actions=True).url, trust_env=False) as client:
        (alert,) = client.get("/api/v1/series?job=cpu").json()["alerts"]
        assert (alert["alert"], alert["held_back"], alert["told"]) == ("AnomalyCpu", False, "goes to nobody")
        new = {"kind": "silence", "job": "cpu", "labels": dict(A), "why": "known <b>", "who": "eva", "until": "2h"}
        given = client.post("/api/v1/answers", json=new)
        assert given.status_code == 201, given.text
        eventually(lambda: states() == {"a": "suppressed", "b": "active"})
        page = client.get("/series?job=cpu").text
        assert "no message" in page
        assert re.search(r"silenced until 20\d\d-.* UTC by eva: known &lt;b&gt;", page)
        (silence,) = httpx.get(f"{server.url}/api/v2/silences", trust_env=False).json()
        assert (silence["createdBy"], silence["comment"]) == ("eva", "known <b>")
        assert not watched.running.feedback.of("cpu").expected
        assert "eva has answered" in client.post("/api/v1/answers", json=new).json()["error"]
        assert len(httpx.get(f"{server.url}/api/v2/silences", trust_env=False).json()) == 1
        assert client.delete(f"/api/v1/answers/{given.json()['answer']['id']}").status_code == 200
        eventually(lambda: states() == {"a": "active", "b": "active"})
        tell(server, LABELS, over=True)
        eventually(lambda: client.get("/api/v1/series?job=cpu").json()["alerts"] == [])
        assert "it does not reach Alertmanager" in client.get("/series?job=cpu").text
        server.stop()
        answer = client.get("/api/v1/series?job=cpu").json()
        assert answer["alerts"] is None
        assert "Whether Alertmanager sends a message is not known" in answer["notes"][-1]
        refused = client.post("/api/v1/answers", json=new)
        assert refused.status_code == 502
        assert "Nothing was silenced" in refused.json()["error"]
        assert len([each for each in watched.running.feedback.every() if each.undone is None]) == 0
        assert time.time() < watched.running.feedback.every()[0].silence.until
