"""What people read of peers, wherever they look."""

from dataclasses import replace

import msgspec
import numpy as np

from detectors.streams import BESIDE, blank
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.peer_groups import WithoutPeers
from exporter.sinks.audit_rows import AuditRowFormatter
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.message import compose
from exporter.sinks.notify.notification import PendingNotifications, incident_of
from exporter.web.ui.now import incident, now_answer
from exporter.web.ui.status import status_answer
from tests.sinks.test_incident_lines import with_readings
from tests.support.pages import Watched
from tests.support.verdicts import key, verdict

CART = tuple(key(pod=f"p{n}", service="cart") for n in range(2))
TOLD = (
    "3.4 x the other 11 of cart (they: 120 ms, usual difference 1.1 x); value beside its peers 12 standard deviations"
)


def beside(since: float):
    """Return a verdict on two pods of which the first is 3.4 times its peers."""
    found = verdict(CART, flag=[True, False], since=[since, np.nan], score=[4.0, 0.1])
    streams = blank(np.array([0]))
    streams.size[:, BESIDE.start], streams.period[:, BESIDE.start] = 12.0, 1_814_400.0
    for name, value in {"others": 11.0, "own": 0.408, "theirs": 0.12, "usual": 0.132}.items():
        getattr(streams, name)[:] = value
    streams = replace(streams, peers=("service",))
    found = with_readings(found, 0, start=[since], at=[since])
    return replace(found, streams=streams, readings=replace(found.readings, streams=streams))


def test_how_a_series_lies_to_its_peers_is_told_wherever_its_incident_is() -> None:
    found = beside(1000.0)
    told = incident_of(found, 0, {"value": "seconds"})
    assert told.streams[0].text.startswith(TOLD)
    text = compose(PendingNotifications({"cpu": [told]}, {}, {}, {"cpu": 1}, {"cpu": 2}), "", 1060.0)
    assert text.splitlines()[1].startswith(
        "3.4 x the other 11 of cart (they: 120 ms, usual difference 1.1 x); worst at "
    )
    page = Page(SelfMetrics())
    page.publish(found, ())
    page.render()
    lines = page.current.body.decode().splitlines()
    for name, value in {"": 11.0, "_value": 0.12, "_ratio": 3.4, "_usual_ratio": 1.1}.items():
        (line,) = [each for each in lines if each.startswith(f"anomaly_incident_peers{name}{{")]
        assert float(line.rpartition(" ")[2]) == value
    (row,) = AuditRowFormatter(all_samples=False).of(found)
    assert b"0.408 0.12 0.132" in row
    shown = Watched()
    shown.show(beside(shown.now))
    open_now = incident(beside(shown.now), 0, shown.facts().jobs["cpu"], shown.now)
    assert "3.4 x the other 11 of cart" in open_now.why
    assert "3.4 x the other 11 of cart" in open_now.streams[0].text
    now = msgspec.to_builtins(now_answer(shown.running, shown.now))
    assert "3.4 x the other 11 of cart" in now["groups"][0]["incidents"][0]["why"]


def test_series_without_peers_are_told_on_status_and_now() -> None:
    shown = Watched()
    alone = WithoutPeers(2, 0, 2, (), alone_only=True)
    shown.show(replace(verdict(CART, flag=[False, False]), time=shown.now, without_peers=alone))
    told = "2 of 2 series have fewer than 2 peers and are not compared: a group of one or two tells nothing; they have"
    (job,) = [each for each in status_answer(shown.running, shown.now).jobs if each.job == "cpu"]
    assert told in job.text
    unseen = {each.kind: each.text for each in now_answer(shown.running, shown.now).unseen}
    assert unseen["series_without_peers"].startswith(told)
