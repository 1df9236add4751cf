"""A dead target raises an alert with every preset that uses it, by its name, within two minutes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.demo.servers import ITSELF, NodeExporterServer
from exporter.config.load import load
from exporter.config.sections.root import Config
from rules.alerts.dead_target import target_down
from rules.generate import generate
from rules.init import PRESETS
from tests.conftest import StartPrometheus
from tests.rules.test_presets import Cluster
from tests.support.generated import tool
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers

PROVIDES = {
    "node": "node_load5",
    "kubernetes": "container_cpu_usage_seconds_total",
    "http": "http_requests_total",
    "self": "prometheus_build_info",
}
"""A metric of each preset, which the target provides in the tests without servers."""
FIRING = 'ALERTS{alertname="AnomalyTargetDown",alertstate="firing"}'


def config(preset: str) -> Config:
    return load(PRESETS[preset], environ={}).config


def rules(preset: str) -> str:
    return generate(config(preset))["rules/targets.yml"]


def passes(folder: Path, text: str, series: dict[str, str], interval: str, **expected: list[str]) -> None:
    """promtool finds at the times (such as t9m45s) alerts on just these targets of the job j."""
    (folder / "targets.yml").write_text(text)
    asked = [
        {
            "expr": f"group by (job, instance) ({FIRING})",
            "eval_time": at[1:],
            "exp_samples": [{"labels": f'{{job="j", instance="{instance}"}}', "value": 1} for instance in targets],
        }
        for at, targets in expected.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": interval, "input_series": given, "promql_expr_test": asked}
    made = {"rule_files": ["targets.yml"], "evaluation_interval": interval, "tests": [case]}
    (folder / "test.yml").write_text(yaml.safe_dump(made))
    done = tool(folder, "promtool", "test", "rules", "test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def up(instance: str) -> str:
    return f'up{{job="j",instance="{instance}"}}'


@pytest.mark.parametrize("preset", PROVIDES)
@pytest.mark.parametrize("interval", ["15s", "1m"])
def test_a_target_that_dies_is_named_within_two_minutes(preset: str, interval: str, tmp_path: Path) -> None:
    """The last of its series ends at 9m45s; the alert is there at 11m45s, of this target only, and at 3h."""
    before, after = (40, 800) if interval == "15s" else (10, 200)
    metric = f'{PROVIDES[preset]}{{job="j",instance="a:1"}}'
    series = {
        up("a:1"): f"1x{before - 1} 0x{after}",
        metric: f"1x{before - 1} stale",
        up("b:1"): f"1x{before + after}",
        metric.replace("a:1", "b:1"): f"1x{before + after}",
    }
    passes(tmp_path, rules(preset), series, interval, t9m45s=[], t11m45s=["a:1"], t3h=["a:1"])


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({up("a:1"): "1x40 0x100", 'node_load5{job="j",instance="a:1"}': "1x40 stale"}, ["a:1"]),
        ({up("a:1"): "1x40 stale", 'node_load5{job="j",instance="a:1"}': "1x40 stale"}, ["a:1"]),
        (
            {
                up("a:1"): "1x40 stale",
                up("b:1"): "1x140",
                'node_load5{job="j",instance="a:1"}': "1x40 stale",
                'node_load5{job="j",instance="b:1"}': "1x140",
            },
            [],
        ),
        ({up("a:1"): "0x140", up("b:1"): "1x140", 'node_load5{job="j",instance="b:1"}': "1x140"}, []),
        ({up("a:1"): "1x40 0x100", 'other{job="j",instance="a:1"}': "1x40 stale"}, []),
        ({up("a:1"): "1x40 0 " + "1 1 0 " * 40, 'node_load5{job="j",instance="a:1"}': "1x140"}, []),
    ],
    ids=[
        "the only target of its job",
        "the whole scrape job is gone",
        "scaled down: the target is gone, its job goes on",
        "it never answered",
        "nobody asks for its metrics",
        "now and then a scrape fails",
    ],
)
def test_what_counts_as_dead(series: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    passes(tmp_path, rules("node"), series, "15s", t13m=expected)


def test_there_is_no_such_alert_where_no_query_names_a_metric() -> None:
    made = Config.model_validate({"jobs": {"a": {"expr": "vector(1)"}, "b": {"expr": '{__name__=~"x.*"}'}}})
    assert target_down(made.jobs.values(), made.alerting) == ()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("preset", PROVIDES)
def test_real_prometheus_names_a_target_that_was_killed(
    preset: str, node_exporter: NodeExporterServer, cluster: Cluster, prometheus: StartPrometheus, tmp_path: Path
) -> None:
    """A minute of the rule is three seconds here."""
    file = tmp_path / "targets.yml"
    file.write_text(rules(preset).replace("for: 1m\n", "for: 3s\n"))
    target = node_exporter if preset == "node" else cluster
    source = prometheus(scrape={"prometheus": ITSELF, "app": target.address}, rules=[file])
    source.wait_for('up{job="app"} == 1')
    address = target.address
    if preset == "node":
        node_exporter.kill()
    else:
        cluster.__exit__(None, None, None)
    eventually(lambda: source.query(FIRING))
    found = [(one["metric"]["job"], one["metric"]["instance"]) for one in source.query(FIRING)]
    assert found == [("app", address)]
