"""What teams declare becomes jobs of their own namespace, and whatever is wrong is refused alone."""

import pytest

from exporter.config import declared_job as checked
from exporter.config.declared import Declared, declared
from exporter.config.declared_job import KEYS
from exporter.config.declared_objects import LARGEST, declaration
from exporter.config.secrets import Secret
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.promql_tenant import of_tenant
from tests.support.declared import config_map, grafana_rule, prometheus_rule

SHOP = "jobs:\n  errors: {expr: 'sum by (pod) (rate(errors_total[5m]))', direction: above}\n"


def config(own=None, **discover) -> Config:
    return Config.model_validate({"jobs": own or {}, "discover": discover})


def found(*objects, of: Config | None = None, before: Declared | None = None, **discover) -> Declared:
    of = of or config(**discover)
    assert of.discover is not None
    every = [each for made in objects if (each := declaration(made, of.discover))]
    return declared(every, of, *([before] if before else []))


def refusals(of: Declared) -> list[str]:
    return [f"{each.declaration.path} {each.job}: {each.text}" for each in of.refused]


def test_a_job_has_the_name_of_its_namespace_and_sees_it_alone():
    jobs = found(config_map("shop", SHOP), config_map("bank", SHOP)).jobs
    assert list(jobs) == ["bank:errors", "shop:errors"]
    assert jobs["shop:errors"].expr == 'sum by (pod) (rate(errors_total{namespace="shop"}[5m]))'
    assert jobs["bank:errors"].expr == 'sum by (pod) (rate(errors_total{namespace="bank"}[5m]))'
    assert jobs["shop:errors"].direction == "above"


def test_an_operator_may_let_teams_ask_for_everything():
    assert found(config_map("shop", "jobs: {a: {expr: up}}"), enforce=None).jobs["shop:a"].expr == "up"


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ('up{namespace="bank"}', 'asks for namespace="bank": jobs declared in the namespace shop see namespace="shop"'),
        ('up / on (pod) x{namespace="bank"}', "asks for namespace="),
        ('up{a="b" or namespace="bank"}', "has `or` within braces"),
        ('label_replace(up, "namespace", "bank", "", "")', "writes the label namespace"),
        ('label_join(up, "namespace", "", "team")', "writes the label namespace"),
        ('count_values("namespace", up)', "writes the label namespace"),
        ("info(up)", "uses info(), which reads series that no selector names"),
        ("rollup_rate(up[5m])", "cannot be read as PromQL"),
    ],
)
def test_promql_of_another_tenant_is_refused(expr, why):
    text = f"jobs:\n  fine: {{expr: up}}\n  bad:\n    expr: >-\n      {expr}\n"
    made = found(config_map("shop", text))
    assert list(made.jobs) == ["shop:fine"]
    (refusal,) = refusals(made)
    assert refusal.startswith("shop/ConfigMap/jobs bad: shop/ConfigMap/jobs/jobs.yml:4: jobs.bad.expr: ")
    assert why in refusal


@pytest.mark.parametrize(
    "expr",
    [
        'a{x="q\\"} or b{y=\\"1"}',
        "a{x='q\"} or b{y=\"1'}",
        'a{x=`q"} or b{y="1`}',
        'a{x="\\x22} or b{"}',
        '{__name__=~".+", namespace=~".*"}',
        'a{namespace!="shop"}',
        "sum_over_time((a - on (x) group_left (namespace) b)[1h:5m] offset 1d)",
        "topk(scalar(b), a @ 5)",
        "# }\na",
    ],
)
def test_no_way_of_writing_it_leaves_a_selector_out(expr):
    made = of_tenant(expr, "namespace", "shop")
    assert of_tenant(made, "namespace", "shop").count('namespace="shop"') >= made.count('namespace="shop"') > 0


@pytest.mark.parametrize("key", sorted({info.alias or name for name, info in JobConfig.model_fields.items()} - KEYS))
def test_what_is_not_on_the_list_is_the_operators(key):
    made = found(config_map("shop", f"jobs:\n  a:\n    expr: up\n    {key}: x\n"))
    assert not made.jobs
    assert refusals(made) == [
        f"shop/ConfigMap/jobs a: shop/ConfigMap/jobs/jobs.yml:4: jobs.a.{key}: is set by the operator of the exporter "
        "and not by a team; leave it out"
    ]


def test_no_key_on_the_list_names_an_address_a_file_or_a_secret():
    kinds = str({name: info.annotation for name, info in JobConfig.model_fields.items() if name in KEYS - {"alert"}})
    assert not [word for word in ("Path", Secret.__name__, "Url", "SecretStr") if word in kinds]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "web: {listen: 0.0.0.0:1}\njobs: {a: {expr: up}}",
            "web: is set by the operator of the exporter; a team",
        ),
        ("prometheus: {url: http://evil}", "must be jobs by name"),
        ("jobs: [a]", "must be jobs by name"),
        ("- a", "must be keys with values, beginning with 'jobs:'"),
        ("", "must be keys with values, beginning with 'jobs:'"),
        ("jobs: {a: {expr: up, directon: above}}", "jobs.a.directon: unknown key; did you mean 'direction'?"),
        ("jobs: {a: {expr: up}, a: {expr: down}}", "jobs.a: given twice, first on line 1"),
        ("jobs: {a b: {expr: up}}", "jobs.a b: is not a job name"),
        ("jobs: {a: {expr: up, alert: {receivers: [boss]}}}", "jobs.a.alert.receivers: is set by the operator"),
        ("jobs: {a: {expr: up, alert: {labels: {x: y}}}}", "jobs.a.alert.labels: is set by the operator"),
        ("jobs: {a: {expr: up, step: 1s}}", "jobs.a.step: must be at least 15s, says the operator"),
        ("jobs: {a: {expr: up, max_age: 1s}}", "max_age must be at least one step"),
        ("jobs: {a: up}", "jobs.a: must be keys with values"),
        ("a: &x [*x]", "no finished anchor"),
        ("jobs: {a: {expr: \ud800}}", "control character"),
        ("x" * (2**20), "declares 1,048,58"),
        ("jobs: {a: {expr: up, detector: lstm}}", "jobs.a.detector: lstm is not one that declared jobs may use: auto,"),
        ("jobs: {a: {expr: up, detector: {river: {model: x}}}}", "river is not one that declared jobs may use"),
        ("jobs: {a: {expr: up, detector: rubust}}", "jobs.a.detector: unknown detector 'rubust'"),
        (
            "jobs: {a: {expr: up, window: 2d}}",
            "jobs.a.window: holds 2,880 samples; the operator",
        ),
        ("jobs: {a: {expr: up, history: 60d}}", "jobs.a.history: must be at most 4w, says the operator"),
        (
            "jobs: {a: {channels: {" + ", ".join(f"c{n}: up" for n in range(30)) + "}}}",
            "jobs.a.channels: has 30 channels; a declared job may have 20",
        ),
        (f"jobs: {{a: {{expr: '{'(' * 30_000}1{')' * 30_000}'}}}}", "jobs.a.expr: has 60,001 characters"),
        (f"jobs: {{a: {{expr: '{'(' * 3000}1{')' * 3000}'}}}}", "has 3000 brackets within brackets"),
        (f"jobs: {{a: {{channels: {{c: 'a{'+a' * 3000}'}}}}}}", "jobs.a.channels.c: has 3000 operators"),
        (f"jobs: {{a: {{expr: '{'-' * 7000}a'}}}}", "has 7000 operators"),
    ],
)
def test_a_broken_text_is_refused_and_stops_no_other(text, why):
    made = found(config_map("shop", text), config_map("bank", SHOP), config_map("shop", SHOP, name="good"))
    assert {"bank:errors", "shop:errors"} <= made.jobs.keys()
    assert any(why in each for each in refusals(made)), refusals(made)
    assert all(each.startswith("shop/ConfigMap/jobs ") for each in refusals(made))


def test_a_good_job_stands_beside_a_bad_one_of_the_same_text():
    made = found(config_map("shop", "jobs: {a: {expr: up}, b: {expr: 'up('}}"))
    assert list(made.jobs) == ["shop:a"]
    assert [each.job for each in made.refused] == ["b"]


def test_a_job_that_breaks_goes_on_as_it_was_until_it_is_taken_away():
    good = found(config_map("shop", SHOP))
    broken = found(config_map("shop", SHOP.replace("above", "abvoe")), before=good)
    assert broken.jobs == good.jobs
    assert "the version before stays in force" in refusals(broken)[0]
    torn = found(config_map("shop", "jobs: {"), before=broken)
    assert torn.jobs == good.jobs
    assert "the version before stays in force" in refusals(torn)[0]
    assert not found(before=torn).jobs


def test_what_the_operator_forbids_later_does_not_go_on_as_it_was():
    other = config_map("shop", "jobs: {a: {expr: 'up{namespace=\"bank\"}'}}")
    free = found(other, enforce=None)
    assert free.jobs
    assert not found(other, before=free).jobs


def test_the_same_job_twice_in_a_namespace_belongs_to_the_older_object():
    old = config_map("shop", SHOP, name="z", created="2026-01-01T00:00:00Z")
    new = config_map("shop", SHOP, name="a", created="2026-02-01T00:00:00Z")
    made = found(new, old)
    assert made.owners["shop:errors"].name == "z"
    assert refusals(made) == [
        "shop/ConfigMap/a errors: ConfigMap z of the same namespace has this job already; rename one of them"
    ]


def test_the_configuration_of_the_exporter_comes_first():
    made = found(config_map("shop", SHOP), of=config({"shop:errors": {"expr": "up"}}))
    assert not made.jobs
    assert "the configuration of the exporter has a job shop:errors of its own" in refusals(made)[0]


def test_a_namespace_has_so_many_jobs_and_no_more():
    text = "jobs:\n" + "".join(f"  j{n}: {{expr: up}}\n" for n in range(5))
    made = found(config_map("shop", text), config_map("bank", text), jobs=3, teams={"bank": {"jobs": 4}})
    assert sorted(made.jobs) == [f"bank:j{n}" for n in range(4)] + [f"shop:j{n}" for n in range(3)]
    assert [each.text.partition(" jobs already")[0] for each in made.refused] == [
        "the namespace has 4", "the namespace has 3"
    ]  # fmt: skip
    assert made.refused[1].text.endswith("; left out: j3, j4")


def test_an_object_with_thousands_of_jobs_is_refused_as_a_whole():
    made = found(config_map("shop", "jobs:\n" + "".join(f"  j{n}: {{expr: 1}}\n" for n in range(2000))))
    assert refusals(made) == ["shop/ConfigMap/jobs : shop/ConfigMap/jobs: declares 2,000 jobs, more than 500; split it"]


def test_jobs_of_a_namespace_share_its_budget_and_have_its_receivers():
    receivers = {"alerting": {"receivers": {n: {"slack": {"webhook": {"file": "/w"}, "channel": "#a"}} for n in "ab"}}}
    receivers["alerting"]["routes"] = {"ticket": ["a"]}
    of = Config.model_validate(
        {"discover": {"budget": 2, "teams": {"bank": {"budget": "3 per day", "receivers": ["b"]}}}, **receivers}
    )
    text = "jobs: {a: {expr: up}, b: {expr: up, alert: {severity: page}}}"
    jobs = found(config_map("shop", text), config_map("bank", text), of=of).jobs
    assert {name: job.budget for name, job in jobs.items()} == {
        "shop:a": 1.0, "shop:b": 1.0, "bank:a": 10.5, "bank:b": 10.5
    }  # fmt: skip
    assert jobs["shop:a"].alert.receivers == ()
    assert (jobs["bank:b"].alert.receivers, jobs["bank:b"].alert.severity) == (("b",), "page")


def test_a_team_can_have_fewer_series_and_not_more():
    text = "jobs: {a: {expr: up, max_series: 5}, b: {expr: up, max_series: 1000000}, c: {expr: up}}"
    jobs = found(config_map("shop", text)).jobs
    assert [job.max_series for job in jobs.values()] == [5, 1000, 1000]


def test_defaults_and_calendars_of_the_configuration_count_for_declared_jobs():
    of = Config.model_validate(
        {
            "discover": {},
            "defaults": {"step": "2m", "window": "2h"},
            "calendars": {"off": {"country": "DE", "learn": False}},
        }
    )
    job = found(config_map("shop", "jobs: {a: {expr: up, calendars: [off]}}"), of=of).jobs["shop:a"]
    assert (job.step, job.window, job.calendars[0].country) == (120.0, 7200.0, "DE")
    made = found(config_map("shop", "jobs: {a: {expr: up, calendars: [of]}}"), of=of)
    assert "there is no calendar 'of'; did you mean 'off'?" in refusals(made)[0]


def test_an_annotation_of_a_prometheus_rule_declares_jobs():
    made = prometheus_rule("shop", annotation=SHOP)
    assert list(found(made, rules=True).jobs) == ["shop:errors"]
    assert not found(made).jobs
    assert not found(prometheus_rule("shop"), rules=True).jobs


def test_recording_rules_with_a_name_are_jobs_as_they_are():
    made = prometheus_rule(
        "shop",
        grafana_rule("otel_demo_requests", "adaptive"),
        grafana_rule("otel_demo_requests", "robust"),
        {"record": "other", "expr": "up"},
        {"alert": "Down", "expr": "up == 0", "labels": {"anomaly_name": "no"}},
    )
    jobs = found(made, anomaly_names=True, enforce=None).jobs
    assert {name: job.expr for name, job in jobs.items()} == {
        "shop:otel_demo_requests": 'anomaly:request:rate5m{anomaly_name="otel_demo_requests"}'
    }
    (job,) = found(made, anomaly_names=True).jobs.values()
    assert job.expr == 'sum by (job) (rate(traces_span_metrics_duration_milliseconds_count{namespace="shop"}[5m]))'
    assert not job.rate
    assert not found(made, rules=True).jobs


@pytest.mark.parametrize("odd", [None, 1, "x", ["x"], {"a": []}, [[]], [None], [{"rules": 3}], {"groups": 3}])
@pytest.mark.parametrize("part", ["metadata", "data", "spec"])
def test_an_object_of_another_form_declares_nothing_or_is_refused(part, odd):
    for made in (config_map("shop", SHOP), prometheus_rule("shop", grafana_rule("a", "b"), annotation=SHOP)):
        found({**made, part: odd}, rules=True, anomaly_names=True)
        if part == "spec":
            found({**made, "spec": {"groups": odd}}, rules=True, anomaly_names=True)


def test_a_defect_in_checking_one_job_is_of_that_job_alone(monkeypatch):
    whole = checked._limited

    def fails(job, node, name, *others):
        if name == "bad":
            raise RecursionError
        return whole(job, node, name, *others)

    monkeypatch.setattr(checked, "_limited", fails)
    made = found(config_map("shop", "jobs: {bad: {expr: up}, good: {expr: up}}"))
    assert list(made.jobs) == ["shop:good"]
    assert "cannot be checked (RecursionError)" in refusals(made)[0]


def test_a_declaration_is_bounded():
    made = declaration(config_map("shop", "x" * (LARGEST + 1)), config().discover)
    assert made is not None
    assert not made.texts, "it is not kept in memory"
