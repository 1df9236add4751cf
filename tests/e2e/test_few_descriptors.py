"""Row 43: file descriptors run out while the exporter runs, and are there again."""

import resource
from pathlib import Path

import requests

from tests.e2e.conftest import Page
from tests.soak.source import Churning
from tests.support.stub import Reply, Request, serve
from tests.support.waiting import eventually

JOB = {"expr": "level", "step": "1s", "window": "30s", "history": "30s", "max_age": "5m", "detector": "robust"}


def asked(url: str) -> bool:
    """Whether a new connection gets an answer."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{url}/-/healthy", timeout=2).ok
    except requests.RequestException:
        return False


def test_without_a_descriptor_to_spare_cycles_fail_and_go_on_when_there_is_one(exporter, tmp_path):
    source = Churning(series=10, churn=0.0, step=1.0)

    def reply(request: Request) -> Reply:
        return Reply(raw=b"HTTP/1.0 200 OK\r\n\r\n" + source.reply(request).body)  # a connection for every query

    with serve(reply) as stub:
        config = {
            "prometheus": {"url": stub.url},
            "log": {"format": "json"},
            "jobs": {"level": JOB},
            "state": {"path": str(tmp_path / "state"), "every": "1s"},
            "audit": {"path": str(tmp_path / "audit.csv"), "all_samples": True},
        }
        ours = exporter(config)
        eventually(lambda: Page(ours.url).cycles("level") > 2)
        before = resource.prlimit(ours.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(ours.pid, resource.RLIMIT_NOFILE, (3, before[1]))  # what is open stays open
        eventually(lambda: "cycle_failed" in ours.log.read_text())
        assert not asked(ours.url), "there was a descriptor left"
        assert ours.running
        resource.prlimit(ours.pid, resource.RLIMIT_NOFILE, before)
        eventually(lambda: asked(ours.url))
        page = Page(ours.url)
        done = page.cycles("level")
        eventually(lambda: Page(ours.url).cycles("level") > done + 2)
        assert Page(ours.url).one("anomaly_exporter_source_up", query="level") == 1
        assert page.one("anomaly_exporter_audit_rows_lost_total") == 0
        log = ours.log.read_text()
        assert "Traceback" not in log
        assert "Too many open files" in log
    rows = Path(tmp_path / "audit.csv").read_text().splitlines()
    assert len(set(rows)) == len(rows)
