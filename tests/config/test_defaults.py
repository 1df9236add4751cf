"""`defaults` for all jobs, the budget of all jobs, and the page that gives the reason for every default."""

from pathlib import Path

import pytest

from exporter.config.check import chance_alerts, check
from exporter.config.compare import compare, keys_of
from exporter.config.digest import config_digest, job_digests
from exporter.config.load import ConfigError, load
from exporter.config.reference import PAGE, defaults
from exporter.config.sections.root import Config


def loaded(folder: Path, text: str, environ: dict[str, str] | None = None, profile: str | None = None) -> Config:
    (folder / "a.yml").write_text(text)
    return load(folder / "a.yml", profile, environ or {}).config


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        loaded(folder, text)
    return str(error.value).replace(f"{folder}/", "").splitlines()


def test_a_job_takes_what_it_does_not_set(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
defaults: {step: 5m, direction: above, detector: {robust: {deviations: 4}}, alert: {severity: page, for: 5m}}
jobs:
  a: {expr: up}
  b: {expr: up, step: 1m, detector: {robust: {min_samples: 9}}, alert: {severity: ticket}}
  c: {expr: up, detector: auto, direction: null}
""",
    )
    a, b, c = config.jobs.values()
    assert (a.step, a.direction, a.detector) == (300, "above", {"robust": {"deviations": 4}})
    assert (a.alert.severity, a.alert.for_) == ("page", 300)
    assert (b.step, b.detector) == (60, {"robust": {"deviations": 4, "min_samples": 9}})
    assert (b.alert.severity, b.alert.for_) == ("ticket", 300)
    assert (c.detector, c.direction) == ("auto", "both")


def test_a_window_of_the_job_goes_with_a_step_of_the_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, "defaults: {step: 2h}\njobs: {a: {expr: up, window: 1d}}").jobs["a"].samples == 12


def test_written_either_way_it_is_the_same_to_a_reload(tmp_path: Path) -> None:
    short = loaded(tmp_path, "defaults: {step: 5m}\njobs: {a: {expr: up}, b: {expr: down}}")
    long = loaded(tmp_path, "jobs: {a: {expr: up, step: 5m}, b: {expr: down, step: 5m}}")
    assert config_digest(short) == config_digest(long)
    assert list(compare(keys_of(short), keys_of(long))) == ["a: unchanged", "b: unchanged"]
    other = loaded(tmp_path, "defaults: {step: 5m, lag: 1m}\njobs: {a: {expr: up}, b: {expr: x, lag: 0s}}")
    assert [line.partition(",")[0] for line in compare(keys_of(short), keys_of(other))] == [
        "a: FRESH START",
        "b: FRESH START",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("defaults: {histroy: 3d}", ["a.yml:1: defaults.histroy: unknown key; did you mean 'history'?"]),
        (
            "defaults: {step: soon}",
            ["a.yml:1: defaults.step: 'soon' is not a duration; use for example 30s, 5m, 1h30m or 7d"],
        ),
        ("defaults: {expr: up}", ["a.yml:1: defaults.expr: belongs to a job; what is in defaults is for all jobs"]),
        ("defaults: [1]", ["a.yml:1: defaults: must be keys with values, not a list"]),
        (
            "defaults: {detector: robsut}",
            ["a.yml:1: defaults.detector: unknown detector 'robsut', did you mean 'robust'?"],
        ),
        (
            "defaults: {detector: {robust: {foo: 1}}}",
            [
                "a.yml:1: defaults.detector.robust.foo: unknown key; known here: window, deviations, min_samples",
            ],
        ),
        (
            "defaults: {alert: {severety: page}}",
            ["a.yml:1: defaults.alert.severety: unknown key; did you mean 'severity'?"],
        ),
        ("defaults: {history: 2h}", ["a.yml:1: defaults.history: history must be at least as long as window (in b)"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_named_where_it_stands_and_once(text: str, expected: list[str], tmp_path: Path) -> None:
    jobs = "jobs:\n  a: {expr: up}\n  b: {expr: up, window: 3h}\n"
    assert mistakes(tmp_path, f"{text}\n{jobs}") == expected


def test_a_jobs_own_mistake_is_named_in_the_job(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "defaults: {step: 5m}\njobs:\n  a: {expr: up, step: soon}\n")
    assert line.startswith("a.yml:3: jobs.a.step: ")


def test_profiles_and_the_environment_reach_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.dev.yml").write_text("defaults: {step: 10m}")
    text = "defaults: {step: 5m, lag: 1m}\njobs: {a: {expr: up, window: 1d}}"
    config = loaded(tmp_path, text, {"ANOMALY_EXPORTER__DEFAULTS__LAG": "2m"}, "dev")
    assert (config.jobs["a"].step, config.jobs["a"].lag) == (600, 120)


def test_a_flat_file_has_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, "metrics: [up]").jobs["up"].budget == 1
    (line,) = mistakes(tmp_path, "metrics: [up]\ndefaults: {step: 5m}")
    assert line.startswith("a.yml:2: defaults: cannot be used together with metrics")


@pytest.mark.parametrize(
    ("budget", "jobs", "each"),
    [("", 1, 1), ("", 3, 1), ("", 23, 3 / 23), ("budget: 5 per week", 1, 5), ("budget: 1 per day", 14, 0.5)],
)
def test_the_jobs_share_the_budget_of_all(budget: str, jobs: int, each: float, tmp_path: Path) -> None:
    names = "\n".join(f"  j{number}: {{expr: up}}" for number in range(jobs))
    config = loaded(tmp_path, f"{budget}\njobs:\n{names}\n")
    assert [job.budget for job in config.jobs.values()] == pytest.approx([each] * jobs)


def test_a_budget_of_its_own_comes_on_top(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "budget: 4 per week\njobs: {a: {expr: up, budget: 7 per week}, b: {expr: up}, c: {expr: up}}"
    )
    assert [job.budget for job in config.jobs.values()] == [7, 2, 2]


def test_another_budget_of_all_or_a_further_job_costs_no_learning(tmp_path: Path) -> None:
    before = loaded(tmp_path, "budget: 4 per week\njobs: {a: {expr: up}, b: {expr: up}}")
    stricter = loaded(tmp_path, "budget: 2 per week\njobs: {a: {expr: up}, b: {expr: up}}")
    more = loaded(tmp_path, "budget: 4 per week\njobs: {a: {expr: up}, b: {expr: up}, c: {expr: up}}")
    kept = "other decisions, it keeps what it has learnt: budget"
    assert list(compare(keys_of(before), keys_of(stricter))) == [f"a: {kept}", f"b: {kept}"]
    assert list(compare(keys_of(before), keys_of(more))) == [f"a: {kept}", f"b: {kept}", "c: is added"]


def test_check_config_says_how_many_alerts_come_by_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded(tmp_path, "jobs: {a: {expr: up}, b: {expr: up, budget: 2 per week}}")
    assert check(tmp_path / "a.yml", environ={}) == 0
    assert "alerts by chance: at most 3 per week of all jobs together, 1 to 2 of each" in capsys.readouterr().out
    assert "at most 3 per week of all jobs together, 0.13 of each" in chance_alerts([3 / 23] * 23)


@pytest.mark.parametrize("value", ["0s", "soon", "-1h", "[1]"])
def test_a_history_is_a_duration_or_auto(value: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"jobs: {{a: {{expr: up, history: {value}}}}}")
    assert line.startswith("a.yml:1: jobs.a.history: ")
    assert line.endswith("or auto")


def test_a_state_of_before_history_had_a_default_is_still_good(tmp_path: Path) -> None:
    config = loaded(tmp_path, "jobs: {a: {expr: up}, b: {expr: up, history: auto}}")
    window = config.jobs["a"].model_copy(update={"history": None})
    assert job_digests(config.jobs["a"], config) == job_digests(config.jobs["b"], config) == job_digests(window, config)


def test_the_page_gives_a_reason_for_every_default() -> None:
    page = PAGE.with_name("defaults.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line.startswith("| `")
    ]
    assert [(key.strip("`"), default) for key, default, _ in rows] == list(defaults())
    assert all(len(reason.strip()) > 10 for _, _, reason in rows)


def test_a_unit_that_is_said_counts_and_any_other_is_guessed(tmp_path: Path) -> None:
    several = "{channels: {p: x_seconds, q: y}, unit: {q: ratio}}"
    text = f"jobs: {{a: {{expr: free_bytes}}, b: {{expr: free_bytes, unit: none}}, c: {several}}}"
    jobs = loaded(tmp_path, text).jobs
    assert [job.units for job in jobs.values()] == [{"value": "bytes"}, {"value": ""}, {"p": "seconds", "q": "ratio"}]


def test_a_job_sets_some_keys_of_deploys_and_takes_the_others_from_all(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
deploys: {expr: "changes(released[2m]) > 0", owner: [namespace, service], within: 10m}
jobs:
  a: {expr: up}
  b: {expr: up, deploys: {owner: {app: service}, caution: 0s}}
""",
    )
    a, b = (job.deploys for job in config.jobs.values())
    assert (a.owner, a.within, a.caution) == ({"namespace": "namespace", "service": "service"}, 600, 900)
    assert (b.expr, b.owner, b.within, b.caution) == (a.expr, {"app": "service"}, 600, 0)
