"""`anomaly-exporter init`: the presets are good configurations, ask what is there, and nothing is overwritten."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from typer.testing import CliRunner

from deploy.demo.local import LocalServer
from deploy.demo.servers import ITSELF, ExporterServer
from exporter.cli.main import cli
from exporter.config.load import load
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import BUDGET, Config
from rules.generate import generate
from rules.init import PRESETS, compose
from tests.conftest import StartAlertmanager, StartPrometheus
from tests.e2e.conftest import Page
from tests.support.dashboards import SHOWN, asked, dashboard, targets
from tests.support.waiting import eventually

ALL = ["node", "kubernetes", "http", "self"]
URL = "http://localhost:9090"


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["init", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def jobs(preset: str) -> dict[str, JobConfig]:
    return load(PRESETS[preset], environ={}).config.jobs


def tree(*presets: str) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(compose(presets, URL))
    return made


def test_the_presets_are_those_promised_and_share_no_job() -> None:
    assert sorted(PRESETS) == sorted(ALL)
    assert len(set().union(*map(jobs, ALL))) == sum(len(jobs(name)) for name in ALL) > 25


@pytest.mark.parametrize("preset", ALL)
def test_every_job_has_direction_least_deviation_what_was_observed_and_its_reason(preset: str) -> None:
    text = PRESETS[preset].read_text()
    for name, job in jobs(preset).items():
        assert {"direction", "least_deviation"} <= job.model_fields_set, name
        assert job.least_deviation > 0, name
        assert "value" in job.publish, name
        assert re.search(rf"\n\n?  # .+\n  {name}:\n", text), f"{name}: no reason above it"
        assert re.search(rf"\n  {name}:\n(    .*\n)*?    least_deviation: \S+ +# \w", text), f"{name}: in which unit?"


def test_every_preset_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "presets.md").read_text()
    assert [name for name in PRESETS if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("preset", ALL)
def test_every_expression_parses(preset: str) -> None:
    for name, job in jobs(preset).items():
        for expr in job.queries.values():
            assert promql_parser.parse(expr), name


@pytest.mark.parametrize("chosen", [*([name] for name in ALL), ["http", "node"], ALL], ids=" ".join)
def test_what_init_writes_loads_with_all_jobs_of_the_presets_and_says_the_same(
    chosen: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "anomaly.yml"
    options = [part for name in chosen for part in ("--preset", name)]
    code, out, err = run(*options, "--out", file, "--prometheus-url", "https://mimir.example.com/prometheus/")
    assert (code, err) == (0, "")
    assert f"anomaly-exporter run --config {file}" in out
    config = load(file, environ={}).config
    assert config.prometheus.url == "https://mimir.example.com/prometheus"
    assert list(config.jobs) == [job for name in chosen for job in jobs(name)]
    presets = {job: made for name in chosen for job, made in jobs(name).items()}
    shared = {job: made.model_copy(update={"budget": BUDGET / len(presets)}) for job, made in presets.items()}
    assert config.jobs == shared  # all but the budget, which is that of all jobs together
    assert sum(job.budget for job in config.jobs.values()) == pytest.approx(BUDGET)
    assert f"at most {BUDGET:g} alerts a week come by chance" in out
    written = file.read_text()
    for name in chosen:
        comments = [line.strip() for line in PRESETS[name].read_text().splitlines() if line.strip().startswith("#")]
        assert [line for line in comments if line not in written] == []


def test_what_is_commented_out_is_good_too(tmp_path: Path) -> None:
    text = re.sub(r"^( *)# (?=[a-z]+: \{)", r"\1", compose(["http"], URL), flags=re.MULTILINE)
    file = tmp_path / "anomaly.yml"
    file.write_text(text)
    tree = yaml.safe_load(text)
    assert set(tree) == {"prometheus", "state", "audit", "notify", "budget", "defaults", "jobs"}
    assert "bearer" in tree["prometheus"]
    load(file, environ={})


def test_all_presets_together_make_rules() -> None:
    """No two jobs of different presets share an alert or a file."""
    made = generate(Config.model_validate(tree(*ALL)))
    assert sum(name.startswith("rules/job-") for name in made) == sum(len(jobs(name)) for name in ALL)
    assert not re.search(r"Anomaly\w+_[0-9a-f]{8}\b", made["runbook.md"]), "an alert needed digits to be told apart"


def test_a_file_that_is_there_is_replaced_only_with_force(tmp_path: Path) -> None:
    file = tmp_path / "anomaly.yml"
    file.write_text("mine\n")
    code, _, err = run("--preset", "node", "--out", file)
    assert (code, err) == (2, f"{file} already exists; --force overwrites it, --out names another file\n")
    assert file.read_text() == "mine\n"
    assert run("--preset", "node", "--out", file, "--force")[0] == 0
    assert "node-cpu" in load(file, environ={}).config.jobs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--preset is missing; there are: http, kubernetes, node, self"),
        (["--preset", "nod"], "--preset: there is no preset 'nod'; did you mean 'node'?"),
        (["--preset", "node", "--preset", "windows"], "there is no preset 'windows'; there are:"),
        (["--preset", "../presets/node"], "there is no preset '../presets/node'"),
        (["--preset", "node", "--prometheus-url", "localhost:9090"], "must be an http:// or https:// address"),
        (["--preset", "node", "--prometheus-url", "http://a:hunter2@b"], "holds a user name or password"),
        (["--preset", "node", "--prometheus-url", 'http://b"\njobs: {}'], "must be an http:// or https:// address"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(arguments: list[str], said: str, tmp_path: Path) -> None:
    code, _, err = run(*arguments, "--out", tmp_path / "anomaly.yml")
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert "hunter2" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    code, _, err = run("--preset", "node", "--out", tmp_path / "nowhere" / "anomaly.yml")
    assert code == 2
    assert "cannot be written: No such file or directory" in err


class Cluster(LocalServer):
    """Says what kube-state-metrics, cAdvisor, the kubelet and an HTTP service say, under their names."""

    def get(self) -> str:
        now = time.time() % 1e6
        pod, container = 'namespace="shop",pod="cart-7c9"', 'namespace="shop",pod="cart-7c9",container="cart"'
        lines = [
            f"kube_pod_container_status_restarts_total{{{container}}} {now // 5}",
            f'kube_pod_status_phase{{{pod},phase="Pending"}} 0',
            'kube_deployment_status_replicas_unavailable{namespace="shop",deployment="cart"} 0',
            'kube_deployment_spec_replicas{namespace="shop",deployment="cart"} 2',
            f"container_cpu_usage_seconds_total{{{container}}} {now}",
            f"container_memory_working_set_bytes{{{container}}} 1e8",
            f'kube_pod_container_resource_limits{{{container},resource="memory"}} 1e9',
            f"probe_ssl_earliest_cert_expiry {time.time() + 1e7}",
            f"container_cpu_cfs_throttled_periods_total{{{container}}} {now}",
            f"container_cpu_cfs_periods_total{{{container}}} {now * 10}",
            f'container_network_receive_bytes_total{{{pod},interface="eth0"}} {now}',
            f'container_network_transmit_bytes_total{{{pod},interface="eth0"}} {now}',
            'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="cart"} 1e9',
            'kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="cart"} 4e9',
            f'http_requests_total{{code="200"}} {now * 10}',
            f'http_request_duration_seconds_bucket{{le="0.1"}} {now * 9}',
            f'http_request_duration_seconds_bucket{{le="+Inf"}} {now * 10}',
        ]
        return "\n".join(lines) + "\n"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as server:
        yield server


RARE = {
    *(
        "Contribution",
        "Contribution by channel",
        "Incident, alert, flapping",
        "Flapping by job",
        "annotation Incidents",
        "annotation Deploys",
        "Until the limit",
    ),
    *("Query errors", "Series and samples dropped", "Notifications", "Notifications pending"),
    *(
        "Age of the model",
        "Drift",
        "Trainings and loads",
        "Last training",
        "Current model in use",
        "Active models",
    ),
    *("Precision, recall, F1", "Alerts per week", "Quality metrics"),
}
"""Panels that are empty as long as nothing happens, or without receivers, models and backtests."""


@pytest.mark.servers
@pytest.mark.slow
def test_the_node_preset_judges_a_live_node_exporter_every_other_query_finds_series_and_the_dashboards_show_it(
    prometheus: StartPrometheus, alertmanager: StartAlertmanager, node_exporter: Any, cluster: Cluster, tmp_path: Path
) -> None:
    """Issue 5, items 5 and 6: Prometheus scrapes node_exporter, itself, our page, and one with the rest's names."""
    rules = tmp_path / "some.yml"
    rules.write_text("groups: [{name: some, rules: [{record: a, expr: up}]}]\n")
    quick = {name: {**job, "step": "250ms", "window": "5s"} for name, job in tree("node")["jobs"].items()}
    ours = ExporterServer(tmp_path / "exporter", {"jobs": quick})
    ours.ready_path = "/-/healthy"
    scraped = {"node": node_exporter.address, "cluster": cluster.address, "anomaly-exporter": ours.address}
    source = prometheus(scrape={"prometheus": ITSELF, **scraped}, rules=[rules], alertmanager=alertmanager().address)
    ours.config["prometheus"] = {"url": source.url}
    with ours:
        for preset in ALL:
            for name, job in jobs(preset).items():
                for channel, expr in job.queries.items():
                    found = source.wait_for(expr.replace("< 900", "< 0"))  # nobody waits until it is no fresh start
                    labels = {label for series in found for label in series["metric"]}
                    assert set(job.group) <= labels, (name, channel, labels)

        def judged() -> set[str]:
            states = Page(ours.url).get("anomaly_exporter_series", state="ready")
            return {dict(labels)["query"] for labels, count in states.items() if count}

        eventually(lambda: not (missing := set(quick) - judged()) or print(missing, ours.log_tail(5)), every=1)
        assert Page(ours.url).get("anomaly_exporter_query_errors_total") == {}
        chosen = {"entity:raw": 'query="node-network"', "channel": "receive"}  # both directions count

        def empty() -> set[str]:
            queries = [query for name in SHOWN for query in targets(dashboard(name))]
            return {title for title, query in queries if not source.query(asked(query["expr"], **chosen))}

        eventually(lambda: not (rest := empty() - RARE) or print(rest, ours.log_tail(5)), every=1)
