"""What the page shows of a verdict."""

import gzip
import threading
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest

from detectors.types import Key
from exporter import exposition
from exporter.config.sections.job import JobConfig
from exporter.exposition import MAX_LABEL_BYTES, blanks
from exporter.families import FAMILIES
from exporter.observe.metrics import STATES, SelfMetrics
from exporter.sinks import metrics_page as page_module
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.metrics_page import Page, Snapshot
from exporter.sinks.registry import Sinks
from tests.support.verdicts import key, verdict

ALL_FIELDS = ("value", "expected", "lower", "upper", "severity", "alert", "contribution", "flapping")
A, B = key(instance="a", job="node"), key(instance="b", job="node")


@pytest.fixture
def metrics() -> SelfMetrics:
    return SelfMetrics()


def publishing(fields: Collection[str]) -> JobConfig:
    return JobConfig(expr="up", publish=frozenset(fields))


@pytest.fixture
def sinks(page: Page, metrics: SelfMetrics) -> Sinks:
    """The page, and the gauges that follow from the same verdicts."""
    return Sinks(metrics, {"job_gauges": JobGauges(metrics), "metrics_page": page})


@pytest.fixture
def page(metrics: SelfMetrics) -> Page:
    return Page(metrics)


def judged(page: Page) -> str:
    """Render and return the lines of the judged families."""
    page.render()
    text = page.current.body.decode()
    return text[text.index("# HELP anomaly_score") :] if "# HELP anomaly_score" in text else ""


def samples(page: Page) -> dict[tuple[str, Key], float]:
    """Render, parse and return all samples; a sample that is there twice is an error."""
    page.render()
    found: dict[tuple[str, Key], float] = {}
    for name, labels, value in exposition.read(page.current.body.decode()):
        identity = (name, tuple(sorted(labels.items())))
        assert identity not in found
        found[identity] = value
    return found


def own(metrics: SelfMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"anomaly_exporter_{name}", labels)


def test_the_page_reads_exactly_like_this(page: Page) -> None:
    page.publish(
        verdict(
            (A, B),
            score=[0.25, np.nan],
            flag=[True, False],
            alert=[True, False],
            flapping=[True, False],
            severity=[3.5, np.nan],
            values=[[2.0], [np.nan]],
            expected=[[1.0], [np.nan]],
            lower=[[0.1], [-np.inf]],
            upper=[[1e22], [np.inf]],
            groups={key(job="node"): 0.5},
        ),
        ALL_FIELDS,
    )
    golden = Path(__file__).with_name("metrics_page.txt").read_text(encoding="utf-8")
    assert judged(page) == golden


def test_a_page_counts_as_judged_only_when_the_verdict_can_be_read_from_it(page: Page) -> None:
    page.publish(verdict((A,), job="one"), ())
    assert not page.judged
    page.render()
    assert page.judged
    page.withdraw("one")
    page.render()
    assert not page.judged


def test_only_the_chosen_gauges_are_shown(page: Page) -> None:
    page.publish(verdict((A,)), ("lower",))
    families = [line.split()[2] for line in judged(page).splitlines() if line.startswith("# TYPE")]
    assert families == ["anomaly_score", "anomaly_flag", "anomaly_lower"]


def test_no_verdict_says_nan_and_never_zero(page: Page) -> None:
    nothing = [[np.nan]]
    page.publish(
        verdict(
            (A,), score=[np.nan], values=nothing, expected=nothing, lower=nothing, upper=nothing, severity=[np.nan]
        ),
        ALL_FIELDS,
    )
    text = judged(page)
    blank = blanks(("instance", "job"))
    assert f'anomaly_score{{instance="a",job="node",query="cpu",detector="robust"{blank}}} NaN\n' in text
    assert f'anomaly_flag{{instance="a",job="node",query="cpu",detector="robust"{blank}}} 0\n' in text
    for name in ("value", "expected", "lower", "upper", "severity"):
        assert f"anomaly_{name}{{" not in text


def test_several_channels_are_told_apart_and_an_entity_keeps_its_labels_in_all_families(page: Page) -> None:
    """A source label called channel moves aside in every family, so that `ignoring (channel)` joins them."""
    entity = key(channel="tv")
    page.publish(
        verdict((entity,), channels=("p99", "rps"), values=[[1.0, 2.0]], lower=[[np.nan, 3.0]]), ("value", "lower")
    )
    rest = f'exported_channel="tv",query="cpu",detector="robust"{blanks(())}}}'
    text = judged(page)
    assert f"anomaly_score{{{rest} 1.5\n" in text
    assert f'anomaly_value{{channel="p99",{rest} 1.0\nanomaly_value{{channel="rps",{rest} 2.0\n' in text
    assert f'anomaly_lower{{channel="rps",{rest} 3.0\n' in text
    assert 'anomaly_lower{channel="p99"' not in text


def test_only_open_incidents_have_a_contribution_and_only_channels_with_an_equal_share_or_more(page: Page) -> None:
    shares = [[0.7, 0.2, 0.1], [0.2, 0.4, 0.4], [0.2, 0.4, 0.4], [np.nan] * 3]
    names = tuple(key(i=str(n)) for n in range(4))
    page.publish(
        verdict(names, channels=("p99", "rps", "errors"), contribution=shares, flag=[True, True, False, True]),
        ("contribution",),
    )
    found = {labels: value for (name, labels), value in samples(page).items() if name == "anomaly_contribution"}
    shown = {(dict(labels)["i"], dict(labels)["channel"]): value for labels, value in found.items()}
    assert shown == {("0", "p99"): 0.7, ("1", "rps"): 0.4, ("1", "errors"): 0.4}


def test_two_channels_that_share_alike_are_both_listed_and_one_alone_never_is(page: Page) -> None:
    page.publish(verdict((A,), channels=("p99", "rps"), contribution=[[0.5, 0.5]], flag=[True]), ("contribution",))
    assert judged(page).count("\nanomaly_contribution{") == 2
    page.publish(verdict((A,), contribution=[[1.0]], flag=[True]), ("contribution",))
    assert "anomaly_contribution" not in judged(page)


def test_a_job_with_one_channel_leaves_a_source_label_of_that_name_alone(page: Page) -> None:
    page.publish(verdict((key(channel="tv"),)), ("value",))
    assert f'anomaly_value{{channel="tv",query="cpu",detector="robust"{blanks(())}}} 1.5\n' in judged(page)


def test_two_jobs_share_one_header_per_family(page: Page) -> None:
    page.publish(verdict((A,), job="one"), ())
    page.publish(verdict((A,), job="two"), ())
    text = judged(page)
    assert text.count("# TYPE anomaly_score gauge\n") == 1
    assert text.count("anomaly_score{") == 2


def test_series_with_the_same_labels_are_shown_once_and_counted(page: Page, metrics: SelfMetrics) -> None:
    """Row 12: the first one stays, in every cycle."""
    twins = (key(a="x"), key(a="x", b=""), B)
    for _ in range(2):
        page.publish(
            verdict(twins, score=[1.0, 2.0, 3.0], flag=[False, True, True], lower=[[4.0], [5.0], [6.0]]), ("lower",)
        )
    shown = samples(page)
    assert shown[("anomaly_score", key(a="x", query="cpu", detector="robust"))] == 1.0
    assert shown[("anomaly_lower", tuple(sorted((*B, ("query", "cpu"), ("detector", "robust")))))] == 6.0
    assert sum(name == "anomaly_flag" for name, _ in shown) == 2
    assert own(metrics, "series_dropped_total", query="cpu", reason="duplicate") == 2


def test_a_group_that_is_there_twice_is_shown_once(page: Page) -> None:
    page.publish(verdict((A,), groups={key(): 1.0, key(team=""): 2.0}), ())
    assert samples(page)[("anomaly_group_score", key(query="cpu", detector="robust"))] == 1.0


def test_a_series_with_monstrous_labels_is_left_out_and_counted(page: Page, metrics: SelfMetrics) -> None:
    """Row 14."""
    page.publish(verdict((key(a="x" * MAX_LABEL_BYTES), B), score=[1.0, 2.0]), ())
    assert [value for (name, _), value in samples(page).items() if name == "anomaly_score"] == [2.0]
    assert own(metrics, "series_dropped_total", query="cpu", reason="label") == 1


def test_series_that_come_and_go_are_shown_exactly_while_they_live(page: Page) -> None:
    """Row 12: 5 % of the entities change per cycle."""
    for cycle in range(20):
        keys = tuple(key(pod=f"p{n}") for n in range(cycle, cycle + 20))
        page.publish(verdict(keys, score=np.arange(20.0) + cycle), ())
        shown = {
            dict(labels)["pod"]: value for (name, labels), value in samples(page).items() if name == "anomaly_score"
        }
        assert shown == {f"p{n}": float(n) for n in range(cycle, cycle + 20)}


def test_label_texts_are_made_once_per_entity(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Key] = []
    real = page_module.exposition.label_text
    monkeypatch.setattr(
        page_module.exposition, "label_text", lambda key, *rest: (made.append(key), real(key, *rest))[1]
    )
    keys = (A, B)
    page.publish(verdict(keys), ())
    page.publish(verdict(keys), ())
    newcomer = key(instance="c")
    page.publish(verdict((B, newcomer)), ())
    assert made == [A, B, newcomer]
    page.publish(verdict((B,), detector="isolation_forest"), ())
    assert made == [A, B, newcomer, B], "another detector is another label"
    assert 'detector="isolation_forest"' in judged(page)


def test_all_states_are_shown_zero_included(page: Page, sinks: Sinks, metrics: SelfMetrics) -> None:
    sinks.show(verdict((A, B), states={"ready": 1, "warming": 1}, flag=[True, False]), publishing(()))
    states = {state: own(metrics, "series", query="cpu", detector="robust", state=state) for state in STATES}
    assert states == {"ready": 1, "warming": 1, "stale": 0, "error": 0, "empty": 0}
    assert own(metrics, "flagged_ratio", query="cpu", detector="robust") == 0.5


def test_a_job_without_entities_has_no_flagged_ratio_rather_than_a_healthy_one(
    page: Page, sinks: Sinks, metrics: SelfMetrics
) -> None:
    sinks.show(verdict(()), publishing(ALL_FIELDS))
    ratio = own(metrics, "flagged_ratio", query="cpu", detector="robust")
    assert ratio is not None
    assert np.isnan(ratio)
    assert judged(page) == ""


def test_band_coverage_is_the_share_of_samples_in_their_band_and_unknown_without_one(
    page: Page, sinks: Sinks, metrics: SelfMetrics
) -> None:
    nan, keys = float("nan"), (A, B, key(instance="c"), key(instance="d"))
    values, lower = [[1.0], [9.0], [nan], [2.0]], [[0.0], [0.0], [0.0], [-np.inf]]
    sinks.show(verdict(keys, values=values, lower=lower, upper=[[3.0]] * 4), publishing(()))
    assert own(metrics, "band_coverage_ratio", query="cpu", detector="robust") == pytest.approx(2 / 3)
    sinks.show(verdict(keys, lower=[[nan]] * 4, upper=[[nan]] * 4), publishing(()))
    assert np.isnan(own(metrics, "band_coverage_ratio", query="cpu", detector="robust") or 0)
    sinks.withdraw("cpu")
    assert own(metrics, "band_coverage_ratio", query="cpu", detector="robust") is None


def test_a_withdrawn_job_loses_its_series_and_nothing_of_it_looks_healthy(
    page: Page, sinks: Sinks, metrics: SelfMetrics
) -> None:
    sinks.show(verdict((A, B), job="gone"), publishing(ALL_FIELDS))
    sinks.show(verdict((A,), job="stays"), publishing(()))
    sinks.withdraw("gone")
    sinks.withdraw("gone")
    sinks.withdraw("never there")
    text = judged(page)
    assert 'query="gone"' not in text
    assert 'query="stays"' in text
    states = {state: own(metrics, "series", query="gone", detector="robust", state=state) for state in STATES}
    assert states == {"ready": 0, "warming": 0, "stale": 2, "error": 0, "empty": 0}
    assert own(metrics, "flagged_ratio", query="gone", detector="robust") is None
    sinks.show(verdict((A, B), job="gone"), publishing(()))
    assert own(metrics, "series", query="gone", detector="robust", state="ready") == 2


def test_another_detector_leaves_nothing_of_the_one_before(page: Page, sinks: Sinks, metrics: SelfMetrics) -> None:
    sinks.show(verdict((A,)), publishing(()))
    sinks.show(verdict((A,), detector="isolation_forest"), publishing(()))
    assert b'detector="robust"' not in generate_latest(metrics.registry)
    assert 'detector="robust"' not in judged(page)


def test_a_forgotten_job_leaves_no_series_of_any_kind(page: Page, metrics: SelfMetrics) -> None:
    """Histograms and counters too: only the other job stays."""
    families = [value for value in vars(metrics).values() if "query" in getattr(value, "_labelnames", ())]
    assert len(families) > 15
    for family in families:
        for job in ("gone", "stays"):
            child = family.labels(*(job if name == "query" else name for name in family._labelnames))
            child.observe(1) if hasattr(child, "observe") else child.inc()
    page.publish(verdict((A,), job="gone"), ALL_FIELDS)
    page.withdraw("gone")
    metrics.forget("gone")
    text = generate_latest(metrics.registry).decode()
    assert 'query="gone"' not in text
    assert len({line.split("{")[0] for line in text.splitlines() if 'query="stays"' in line}) > len(families)


def test_no_created_series_double_the_page(metrics: SelfMetrics) -> None:
    metrics.cycles.labels("cpu", "success").inc()
    assert b"_created" not in generate_latest(metrics.registry)


def test_a_page_is_there_before_the_first_verdict(page: Page) -> None:
    assert page.current.generation == 0
    assert b"anomaly_exporter_build_info{" in page.current.body
    assert {family.metric for family in FAMILIES}.isdisjoint(name for name, _ in samples(page))


def test_what_is_published_shows_only_after_rendering(page: Page) -> None:
    before = page.current
    page.publish(verdict((A,)), ())
    assert page.current is before
    page.render()
    assert page.current.generation == before.generation + 1
    assert b"anomaly_score{" not in before.body


def test_a_page_is_compressed_once_however_many_ask() -> None:
    """Row 36."""
    snapshot = Snapshot([b"some text " * 100_000, b"more"], 1)
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(snapshot.gzip())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(answer) for answer in answers}) == 1
    assert gzip.decompress(answers[0]) == snapshot.body


def test_jobs_may_publish_while_the_page_is_rendered(page: Page) -> None:
    """Row 37: every page parses, and shows each job whole."""
    keys = tuple(key(n=str(n)) for n in range(10))
    failures: list[BaseException] = []

    def work(job: str) -> None:
        try:
            for cycle in range(15):
                page.publish(verdict(keys, job=job, score=np.full(10, float(cycle))), ("lower",))
                page.render()
                if cycle % 5 == 4:
                    page.withdraw(job)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"job-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        scores: dict[str, set[str]] = {}
        for line in page.current.body.decode().splitlines():
            if line.startswith("anomaly_score{"):
                scores.setdefault(line.split('query="')[1].split('"')[0], set()).add(line.split()[-1])
        assert all(len(values) == 1 for values in scores.values()), "one generation per page"
    for thread in threads:
        thread.join()
    assert not failures


def test_flags_that_change_are_replaced_in_the_lines_before(metrics: SelfMetrics) -> None:
    keys = tuple(key(instance="i" * (row % 7 + 1), row=str(row)) for row in range(400))
    rng, flags, kept = np.random.default_rng(1), np.zeros(400, bool), Page(metrics)
    for changing in (0, 1, 5, 0, 300, 2, 400, 3):
        flags = flags.copy()
        flags[rng.permutation(400)[:changing]] ^= True
        found = verdict(keys, flag=flags.tolist(), alert=(~flags).tolist())
        kept.publish(found, {"alert"})
        anew = Page(metrics)
        anew.publish(found, {"alert"})
        assert judged(kept) == judged(anew)
