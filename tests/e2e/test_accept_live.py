"""An operator calls a level normal, and the running exporter agrees."""

import subprocess
import sys

import pytest

from tests.e2e.conftest import Page, during, soon
from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers


def test_an_accepted_level_is_normal_while_the_other_incident_stays_open(prometheus, exporter, target):
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    source.wait_for("level")
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}, web={"enable_reload": True}))
    eventually(lambda: (Page(ours.url).one("anomaly_score", name="a") or 9) < 1)
    target.series = {"a": 40.0, "b": 40.0}
    eventually(lambda: sum(Page(ours.url).get("anomaly_flag").values()) == 2)
    list(during(ours.url, "level", 3))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "exporter", "accept", "--config", str(ours.directory / "anomaly.yml")),
            *("--url", ours.url, "--job", "level", "--entity", 'name="a"'),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "The level of one incident of job level will be normal" in done.stdout
    soon(ours.url, "level", lambda: Page(ours.url).one("anomaly_flag", name="a") == 0)
    for page in during(ours.url, "level", 10):
        assert page.one("anomaly_flag", name="b") == 1
    assert page.one("anomaly_flag", name="a") == 0
    assert page.one("anomaly_exporter_incidents_accepted_total", query="level") == 1
    assert "incident_accepted" in ours.log.read_text()
