"""Row 53: no secret in anything that the running exporter writes or answers, whatever goes wrong around it.

Every partner repeats in its answers all that it was sent: that is how secrets come back into messages.
"""

import json
import os
import signal
import time
from pathlib import Path

import bcrypt
import pytest
import requests

from tests.soak.source import EMPTY
from tests.support.stub import Reply, Request, serve
from tests.support.waiting import PATIENCE, eventually

PASSWORD = "canary-of-the-page"
NAMES = ("source", "header", "hook", "other", "app", "write", "sign")
CANARIES = {name: f"canary-{name}-9f8e7d6c5b4a" for name in NAMES}
JOB = {"expr": "level", "step": "1s", "window": "30s", "history": "2m", "max_age": "60s", "alert": {"metric": "flag"}}
STATUSES = (401, 302, 422, 500, 503, 200, 404, 429, 400, 413)


def echoed(request: Request, at: int) -> Reply:
    """Refuse a request in one of many ways, repeating all of it."""
    said = json.dumps([request.path, request.headers, request.body.decode(errors="replace")])
    token = request.headers.get("authorization", "").partition(" ")[2] or "nothing"
    headers = {"Location": f"http://user:{token}@elsewhere/{request.path}", "Retry-After": "0", "X-Said": "yes"}
    return Reply(said.encode(), STATUSES[at % len(STATUSES)], headers)


class Partner:
    """A source that works for a while and then repeats what it is sent; every other path does so from the beginning."""

    def __init__(self) -> None:
        self.fault_from = float("inf")
        self.failing = False
        self.asked = 0
        self.paths: set[str] = set()

    def reply(self, request: Request) -> Reply:
        self.asked += 1
        self.paths.add(request.path.split("?")[0])
        if self.failing or not request.path.startswith("/source"):
            return echoed(request, self.asked)
        form = request.form
        if form.get("query") != "level" or "start" not in form:
            return Reply(EMPTY)
        ticks = range(round(float(form["start"])), round(float(form["end"])) + 1)
        series = ",".join(
            f'{{"metric":{{"instance":"{name}"}},"values":[{self.values(name, ticks)}]}}' for name in ("a", "b")
        )
        return Reply(EMPTY.replace(b"[]", f"[{series}]".encode()))

    def values(self, name: str, ticks: range) -> str:
        high = [name == "a" and tick > self.fault_from for tick in ticks]
        return ",".join(f'[{tick},"{50 if far else 10 + tick % 3}"]' for tick, far in zip(ticks, high, strict=True))


def settings(url: str, folder: Path, slack: str) -> dict:
    for name, canary in CANARIES.items():
        place = f"{url}/{name}/{canary}" if name in {"hook", "other"} else canary
        (folder / name).write_text(place)
    held = {name: {"file": str(folder / name)} for name in CANARIES}
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "hash").write_text(hashed)
    app = {"token": held["app"], "channel": "C1", "url": f"{url}/app"}
    return {
        "prometheus": {"url": f"{url}/source", "bearer": held["source"], "headers": {"X-Api-Key": held["header"]}},
        "log": {"format": "json", "level": "debug"},
        "jobs": {"level": JOB},
        "notify": {
            "webhook": held["other"],
            **({"slack": held["hook"]} if slack == "hook" else {"slack_app": app}),
        },
        "remote_write": {"url": f"{url}/write", "bearer": held["write"]},
        "models": {"path": str(folder / "models"), "key": held["sign"]},
        "state": {"path": str(folder / "state"), "every": "1s"},
        "audit": {"path": str(folder / "audit.csv"), "all_samples": True},
        "web": {"users": {"admin": {"file": str(folder / "hash")}}, "enable_reload": True},
    }


def shown(url: str) -> str:
    """Return all that the port answers, also to what is wrong."""
    answers = []
    with requests.Session() as session:
        session.trust_env, session.auth = False, ("admin", PASSWORD)
        asked = [("GET", path) for path in ("/", "/metrics", "/api/v1/config", "/api/v1/anomalies", "/api/v1/now")]
        asked += [("GET", path) for path in ("/status", "/jobs", "/jobs/level", "/incidents", "/api/v1/openapi.json")]
        asked += [("GET", "/api/v1/related?job=level&match=instance%3D%22a%22"), ("POST", "/mcp"), ("GET", "/nothing")]
        for method, path in [*asked, ("POST", "/-/reload"), ("POST", "/-/accept?job=none")]:
            answer = session.request(method, url + path, timeout=PATIENCE)
            answers += [answer.text, str(answer.headers)]
    return "\n".join(answers)


@pytest.mark.slow
@pytest.mark.parametrize("slack", ["hook", "app"])
def test_no_secret_comes_back_from_partners_that_repeat_all_they_are_sent(slack, exporter, tmp_path):
    partner = Partner()
    with serve(partner.reply) as stub:
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        ours = exporter(settings(stub.url, secrets, slack))
        partner.fault_from = time.time()
        for wanted in (slack, "other", "write"):
            eventually(lambda wanted=wanted: any(path.startswith(f"/{wanted}") for path in partner.paths))
        found = shown(ours.url)
        partner.failing = True
        before = partner.asked
        eventually(lambda: partner.asked > before + 3 * len(STATUSES))
        found += shown(ours.url)
        for name in ("source", "sign", slack):  # rotated into nothing, and into what no header can hold
            (secrets / name).write_text("")
        eventually(lambda: "not set or empty" in ours.log.read_text())
        (secrets / "source").write_text(f"{CANARIES['source']}\x00\nsecond line")
        (ours.directory / "anomaly.yml").write_text(f"prometheus: {{bearer: {CANARIES['source']}}}\n")
        os.kill(ours.pid, signal.SIGHUP)
        eventually(lambda: "anomaly_exporter_config_last_reload_successful 0" in shown(ours.url))
        found += shown(ours.url)
        os.kill(ours.pid, signal.SIGABRT)
        eventually(lambda: not ours.running)
        log = ours.log.read_text(errors="replace")
    assert "Fatal Python error" in log, "what was running is printed"
    written = {"answers": found, "log": log}
    kept = [each for each in [*tmp_path.rglob("*")] if each.is_file() and each.parent != secrets]
    kept += [*secrets.glob("state/**/*"), *secrets.glob("models/**/*"), secrets / "audit.csv"]
    written |= {str(each): each.read_bytes().decode("latin-1") for each in kept if each.is_file()}
    written.pop(str(ours.directory / "anomaly.yml"))
    hits = [(where, name) for where, text in written.items() for name, canary in CANARIES.items() if canary in text]
    assert hits == []
    assert not any(PASSWORD in text for text in written.values())
