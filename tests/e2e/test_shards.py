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
