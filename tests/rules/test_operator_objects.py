"""The objects of the Prometheus operator keep to its CRDs, which the models of cloudcoil are made of (0.80)."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1, v1alpha1
from pydantic import BaseModel

from deploy.kubernetes import settings_of
from deploy.kubernetes.objects import objects
from exporter.config.load import load
from exporter.config.sections.root import Config
from rules import command
from rules.generate import generate
from tests.rules.test_receivers import EVERY, SECRET

GOLDEN = Path(__file__).parent / "golden.yml"
MODELS: dict[str, type[BaseModel]] = {
    "PrometheusRule": v1.PrometheusRule,
    "ServiceMonitor": v1.ServiceMonitor,
    "AlertmanagerConfig": v1alpha1.AlertmanagerConfig,
    "ScrapeConfig": v1alpha1.ScrapeConfig,
}
KNOWN: dict[str, dict[str, Any]] = {
    "slack": {"webhook": SECRET, "channel": "#alerts"},
    "webhook": {"url": "https://hook.test/x", "bearer": {"file": "/secrets/other/one"}},
    "pagerduty": {"routing_key": SECRET},
    "email": {"to": "a@b.test", "from": "c@d.test", "smarthost": "m.test:25", "username": "u", "password": SECRET},
    **{kind: EVERY[kind] for kind in ("opsgenie", "discord", "telegram")},
}


def keeps_to_its_schema(made: dict[str, Any]) -> None:
    """Fail where the object lacks something, has a wrong type, or something that the schema does not know."""
    read = MODELS[made["kind"]].model_validate(made)
    again = read.model_dump(mode="json", by_alias=True, exclude_none=True)
    lost = list(unknown(made, again, made["kind"]))
    assert lost == []


def unknown(given: Any, kept: Any, place: str) -> Iterator[str]:
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{place}.{key}"
            else:
                yield from unknown(value, kept[key], f"{place}.{key}")
    elif isinstance(given, list):
        for at, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from unknown(one, other, f"{place}[{at}]")
    elif given != kept:
        yield f"{place}: {given!r} became {kept!r}"


def config(**more: Any) -> Config:
    receivers = more.get("alerting", {}).get("receivers")
    if receivers:
        more["alerting"] = {"routes": {"ticket": list(receivers)}, **more["alerting"]}
    return Config.model_validate({"jobs": {"api": {"expr": "up"}}, **more})


def made(of: Config, name: str) -> dict[str, Any]:
    return yaml.safe_load(generate(of)[f"prometheus-operator/{name}.yml"])


def alertmanager_config(kind: str, section: dict[str, Any], **more: Any) -> dict[str, Any]:
    return made(config(alerting={"receivers": {"all": {kind: section}}, **more}), "alertmanager-config")


def test_the_check_itself_finds_what_a_schema_does_not_know() -> None:
    wrong = alertmanager_config("webhook", KNOWN["webhook"])
    wrong["spec"]["receivers"][1]["webhookConfigs"][0]["sendResovled"] = True
    with pytest.raises(AssertionError, match="sendResovled"):
        keeps_to_its_schema(wrong)


def test_every_object_of_the_golden_configuration_keeps_to_its_schema() -> None:
    texts = generate(load(GOLDEN).config)
    kinds = set()
    for name, text in texts.items():
        if name.startswith("prometheus-operator/"):
            each = yaml.safe_load(text)
            keeps_to_its_schema(each)
            kinds.add(each["kind"])
    assert kinds == {"PrometheusRule", "AlertmanagerConfig", "ScrapeConfig"}


def test_the_objects_that_deploy_makes_keep_to_their_schemas(tmp_path: Path) -> None:
    path = tmp_path / "anomaly.yml"
    path.write_text("prometheus: {url: http://p.test}\njobs: {api: {expr: up}}\nweb: {users: {a: {env: HASH}}}\n")
    found = [each for each in objects(settings_of(load(path, None, {}), None)) if each["kind"] in MODELS]
    assert {each["kind"] for each in found} == {"PrometheusRule", "ServiceMonitor"}
    for each in found:
        keeps_to_its_schema(each)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_receiver_keeps_to_the_schema_and_its_secret_is_a_reference(kind: str) -> None:
    each = alertmanager_config(kind, KNOWN[kind])
    keeps_to_its_schema(each)
    [entry] = next(to for to in each["spec"]["receivers"] if to["name"] == "all")[f"{kind}Configs"]
    secrets = str(entry)
    assert "/secrets/" not in secrets
    assert "anomaly-exporter-alerting" in secrets


def test_teams_has_the_keys_that_newer_operators_document() -> None:
    each = alertmanager_config("msteamsv2", EVERY["msteamsv2"])  # the CRD of 0.80 does not know it yet
    [entry] = each["spec"]["receivers"][1]["msteamsv2Configs"]
    assert set(entry) == {"webhookURL", "sendResolved", "title", "text"}
    assert entry["webhookURL"] == {"name": "anomaly-exporter-alerting", "key": "secrets.one"}


def test_routes_matchers_inhibitions_and_times_say_what_alertmanager_yml_says() -> None:
    of = config(
        jobs={"a.b": {"expr": "up", "group": ["rack"]}},
        alerting={
            "receivers": {"chat": {"webhook": {"url": "http://h.test"}, "mute": ["night"]}},
            "watchdog": "chat",
            "time_intervals": {"night": {"times": ["22:00-06:00"], "days_of_month": ["1:7", "-1"], "months": ["3"]}},
        },
    )
    each = made(of, "alertmanager-config")
    keeps_to_its_schema(each)
    native = yaml.safe_load(generate(of)["alertmanager.yml"])
    spec = each["spec"]
    matchers = [
        [f'{one["name"]}{one["matchType"]}"{one["value"]}"' for one in route["matchers"]]
        for route in spec["route"]["routes"]
    ]
    assert matchers == [route["matchers"] for route in native["route"]["routes"]]
    assert len(spec["inhibitRules"]) == len(native["inhibit_rules"])
    assert spec["inhibitRules"][-1]["equal"] == ["rack"]
    [night] = spec["muteTimeIntervals"]
    assert night["timeIntervals"][0]["daysOfMonth"] == [{"start": 1, "end": 7}, {"start": -1, "end": -1}]
    assert spec["route"]["routes"][1]["muteTimeIntervals"] == ["night"]
    heartbeat = spec["receivers"][-1]
    assert heartbeat["name"] == "chat-heartbeat"
    assert heartbeat["webhookConfigs"][0]["sendResolved"] is False


def test_what_the_object_cannot_say_is_told_in_it_and_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
jobs: {api: {expr: up}}
alerting:
  receivers:
    chat: {slack: {app_token: {file: /secrets/app}, channel: C1}, mute: [night]}
    page: {pagerduty: {routing_key: {file: /secrets/key}}}
  routes: {ticket: [chat, page]}
  time_intervals: {night: {times: ["22:00-06:00"], location: Europe/Berlin}}
"""
    (tmp_path / "anomaly.yml").write_text(text)
    assert command.run(tmp_path / "anomaly.yml", tmp_path / "out", out=sys.stdout, err=sys.stderr) == 0
    told = capsys.readouterr().err
    assert "alerting.receivers.chat.slack is not in the AlertmanagerConfig: app_token has no field there" in told
    assert "alerting.time_intervals.night is not in the AlertmanagerConfig, whose times are in UTC" in told
    written = (tmp_path / "out/prometheus-operator/alertmanager-config.yml").read_text()
    assert "# Left out: alerting.receivers.chat.slack" in written
    assert "--from-file=secrets.key=/secrets/key" in written
    assert "secrets.app" not in written
    keeps_to_its_schema(yaml.safe_load(written))
    assert "muteTimeIntervals" not in written


@pytest.mark.parametrize(
    ("url", "target", "path", "scheme"),
    [
        ("https://anomalies.test", "anomalies.test:443", "/metrics", "HTTPS"),
        ("http://10.0.0.1:9877", "10.0.0.1:9877", "/metrics", "HTTP"),
        ("http://host.test/anomalies", "host.test:80", "/anomalies/metrics", "HTTP"),
    ],
)
def test_an_exporter_outside_of_the_cluster_is_scraped_at_its_own_address(
    url: str, target: str, path: str, scheme: str
) -> None:
    each = made(config(web={"external_url": url}, alerting={"health": {"scrape_job": "ours"}}), "scrape-config")
    keeps_to_its_schema(each)
    spec = each["spec"]
    assert spec["staticConfigs"] == [{"targets": [target]}]
    assert (spec["metricsPath"], spec["scheme"], spec["jobName"]) == (path, scheme, "ours")
    assert spec["honorLabels"] is True


def test_without_receivers_or_an_address_there_are_no_such_objects() -> None:
    names = {name for name in generate(config()) if name.startswith("prometheus-operator/")}
    assert not {name for name in names if "config" in name}
