"""Two replicas on one machine share the series of one Prometheus."""

import pytest

from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("by", ["name", "entity"])
def test_two_replicas_judge_every_series_once(prometheus, exporter, target, by):
    names = [f"s{n}" for n in range(40)]
    target.series = dict.fromkeys(names, 10.0)
    source = prometheus(scrape={"target": watching(target)}, history=history(names))
    source.wait_for("level")
    settings = config(source, {"level": {"expr": "level", "shard_by": by, **QUICK}})
    replicas = [exporter(settings, flags=["--shard", f"{index}/2"]) for index in range(2)]

    def judged():
        found = [{dict(labels)["name"] for labels in Page(r.url).get("anomaly_score")} for r in replicas]
        return found if sum(map(len, found)) == 40 else None

    one, other = eventually(judged)
    assert one | other == set(names)
    assert not one & other
    assert min(len(one), len(other)) > 8
    assert Page(replicas[1].url).one("anomaly_exporter_shard_info", shard="1", count="2") == 1
    half = Page(replicas[0].url)
    assert half.one("anomaly_exporter_share_read_whole", query="level") == (by == "entity")
    if by == "name":  # the source itself answers with a part
        assert half.one("anomaly_exporter_share_values", query="level", label="name") == len(one)


def test_what_fails_at_once_over_two_replicas_is_one_joint_incident(prometheus, exporter, target):
    """Real processes hear of each other from the Prometheus that scrapes them."""
    names = [f"s{n}" for n in range(40)]
    target.series = dict.fromkeys(names, 10.0)
    source = prometheus(scrape={"target": watching(target)}, history=history(names))
    source.wait_for("level")
    settings = config(source, {"level": {"expr": "level", **QUICK}})
    replicas = [exporter(settings, flags=["--shard", f"{index}/2"]) for index in range(2)]
    addresses = [each.address for each in replicas]
    source.scrape = {
        "target": watching(target),
        "anomaly": {"honor_labels": True, "static_configs": [{"targets": addresses}]},
    }
    source.reload()
    eventually(lambda: sum(len(Page(each.url).get("anomaly_score")) for each in replicas) == 40)
    target.series = dict.fromkeys(names, 90.0)
    moved = "anomaly_incident_moved_timestamp_seconds"

    def ids():
        found = [Page(each.url).get(moved) for each in replicas]
        if min(map(len, found)) < 10:
            return None
        seen = {dict(labels)["anomaly_incident"] for page in found for labels in page}
        return seen if len(seen) == 1 else None

    assert eventually(ids)
