"""What no series should hold, through the whole cycle and the backtest, with every detector."""

import csv
import json
import math
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.config.sections.job import JobConfig
from exporter.config.sections.models import ModelsConfig
from exporter.models import Store
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.sinks.metrics_page import Page
from exporter.source.decode import Limits, decode
from exporter.source.samples import merge
from tests.support.cycles import STEP, Recorded, judged
from tests.support.every_detector import every_detector, judged_by
from tests.support.fake import recorded
from tests.support.stub import matrix

EVERY = pytest.mark.parametrize("detector", every_detector())
WARM = 200
"""Minutes of normal samples before what is odd begins."""
LIMITS = Limits(series=1000, samples=10**6, points=11_000)


def noise(seed):
    rng = np.random.default_rng([8, seed])
    return [repr(float(value)) for value in rng.normal(100, 3, WARM + 40)]


def late(*odd):
    """Return noise with the `odd` values in turn from minute WARM on."""
    return noise(9)[:WARM] + [odd[minute % len(odd)] for minute in range(40)]


GOOD = {f"good {seed}": noise(seed) for seed in range(4)}
NEVER = {
    "all NaN": ["NaN"] * (WARM + 40),
    "all infinite": ["+Inf", "-Inf"] * (WARM // 2 + 20),
    "one sample": [None] * (WARM + 20) + ["5"] + [None] * 19,
}
"""Series that never get a verdict."""
GONE = {"NaN from now on": late("NaN"), "+Inf from now on": late("+Inf"), "-Inf from now on": late("-Inf")}
"""Series that have none from minute WARM on."""
HUGE = {"to 1e308": late("1e308"), "to -1e308": late("-1e308"), "to 1e308 and back": late("1e308", "-1e308")}
"""Series that are anomalous at minute WARM."""
CONSTANT = {text: [text] * (WARM + 40) for text in ("7", "0", "-0", "1e308", "-1e308", "5e-324")}
ODD = {
    "now and then infinite": late("100", "+Inf", "101", "99"),
    "extremes from the start": ["1e308", "-1e308", "0", "5e-324"] * (WARM // 4 + 10),
    "0 and -0": ["0", "-0"] * (WARM // 2 + 20),
}


class Answers:
    """Answers with bodies as Prometheus writes them, decoded as those of a real one are."""

    def __init__(self, series):
        self.series = series

    def range(self, expr, start, end, step, max_series=None):
        minutes = range(round(start / STEP), round(end / STEP) + 1)
        told = []
        for name, texts in self.series.items():
            samples = [(m * STEP, texts[m]) for m in minutes if 0 <= m < len(texts) and texts[m] is not None]
            if samples:
                told.append(({"instance": name}, samples))
        return merge([decode(matrix(*told), LIMITS)], LIMITS)

    def metric_types(self, names):
        return {}


class Exporter:
    """A job and its page, asked minute by minute."""

    def __init__(self, source, detector, store=None, **settings):
        self.metrics = SelfMetrics()
        self.telemetry, self.page = Telemetry(self.metrics, {}), Page(self.metrics)
        asked = {"expr": "q", "history": "3h"} | judged_by(detector) | settings
        self.config = JobConfig.model_validate(asked)
        self.job = Job(
            JobSettings("job", self.config),
            source,
            recorded(self.metrics, self.config),
            store,
        )

    def cycle(self, minute):
        """Return the last verdict of the cycle at `minute`, after it was published."""
        *_, verdict = evaluate(self.job, minute * STEP, partial(self.telemetry.stage, "job"))
        self.page.publish(verdict, self.config.publish)
        self.page.render()
        return verdict


@EVERY
def test_bad_samples_get_no_healthy_looking_score_and_leave_the_others_alone(detector):  # row 11
    bad = NEVER | GONE | HUGE | CONSTANT | ODD
    exporter, alone = Exporter(Answers(GOOD | bad), detector), Exporter(Answers(GOOD), detector)
    for minute in range(WARM - 1, WARM + 40):
        verdict, without = exporter.cycle(minute), alone.cycle(minute)
        score = {dict(key)["instance"]: found for key, found in zip(verdict.keys, verdict.score, strict=True)}
        assert not np.isinf(verdict.score).any()
        assert all(np.isfinite(score[name]) for name in GOOD)
        assert all(math.isnan(score.get(name, math.nan)) for name in NEVER), minute
        if minute >= WARM:
            assert all(math.isnan(score[name]) for name in GONE), minute
            assert math.isnan(score["now and then infinite"]) == (minute % 4 == 1)
        if minute == WARM:
            assert {name for name in HUGE if not score[name] > 1} == set()
        assert {name for name in CONSTANT if score[name] > 1} == set()
        if detector in {"auto", "half_space_trees", "robust", "seasonal"}:  # which learn nothing from the neighbours
            np.testing.assert_allclose([score[name] for name in GOOD], without.score, rtol=1e-6)
        families = {f.name: f for f in text_string_to_metric_families(exporter.page.current.body.decode())}
        assert len(families["anomaly_score"].samples) == len(verdict.keys)
    infinite = exporter.metrics.registry.get_sample_value(
        "anomaly_exporter_samples_dropped_total", {"query": "job", "reason": "infinite"}
    )
    assert infinite > 2 * 40


@EVERY
def test_a_model_and_a_state_of_other_channels_are_refused_and_the_job_starts_anew(detector, tmp_path):
    rng = np.random.default_rng(0)
    two, three = (
        Recorded([f"e{n}" for n in range(6)], 100 + 3 * rng.normal(size=(6, channels, 300)), 0.0) for channels in (2, 3)
    )
    store = Store(ModelsConfig(path=tmp_path))

    def exporter(source, channels):
        asked = {f"c{at}": f"c{at}" for at in range(channels)}
        return Exporter(source, detector, store, expr=None, channels=asked)

    before = exporter(two, 2)
    before.cycle(250)
    with structlog.testing.capture_logs() as logs:
        after = exporter(three, 3)
        verdict = after.cycle(250)
    refused = [line["error"] for line in logs if line["event"] == "model_refused"]
    trained = before.metrics.registry.get_sample_value(
        "anomaly_exporter_model_trained_timestamp_seconds", {"query": "job", "detector": detector}
    )
    assert len(refused) == (trained is not None)
    assert all("channels" in said for said in refused)
    assert np.isfinite(verdict.score).all()
    state = before.job.state()
    with pytest.raises(ValueError, match="saved"):
        exporter(three, 3).job.restore(state)


@EVERY
def test_files_of_nothing_much_are_judged_without_a_crash_and_without_a_made_up_score(detector, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    rng = np.random.default_rng(1)
    values = [f"{value:.3f}" for value in rng.normal(100, 3, 400)]
    times = [60 * row for row in range(400)]
    mixed = list(range(400))
    mixed[100:104] = 103, 101, 101, 100
    files = {
        "good": (times, values),
        "nan": (times, ["nan"] * 400),
        "inf": (times, ["inf", "-inf"] * 200),
        "huge": (times, [*values[:380], *["1e308", "-1e308"] * 10]),
        "constant": (times, ["-0.0"] * 400),
        "unsorted": ([times[row] for row in mixed], values),
        "one": (times[:1], values[:1]),
    }
    for name, (stamps, cells) in files.items():
        rows = zip(stamps, cells, strict=True)
        (data / f"{name}.csv").write_text("timestamp,v\n" + "".join(f"{t},{v}\n" for t, v in rows))
    asked = judged_by(detector)
    arguments = ["backtest", "--data", str(data), "--detector", json.dumps(asked.pop("detector")), "--out", str(out)]
    arguments += [word for name, value in {"step": "1m", **asked}.items() for word in ("--set", f"{name}={value}")]
    result = CliRunner().invoke(cli, arguments)
    structlog.reset_defaults()
    assert result.exit_code == 0, result.output
    scores = {}
    for name, (stamps, _) in files.items():
        with (out / f"{name}.csv").open(newline="") as file:
            scores[name] = [row["score"] for row in csv.DictReader(file)]
        assert len(scores[name]) == len(stamps)
    for name in ("nan", "inf", "one"):
        assert set(scores[name]) == {""}
    assert not float(scores["huge"][380] or "nan") <= 1  # no verdict where arithmetic ends
    assert "" not in scores["good"][-20:]
    assert not any("inf" in score for every in scores.values() for score in every)


ZONES = {name: {name: {"time_zone": "Europe/Berlin"}} for name in ("auto", "seasonal")}


@pytest.mark.parametrize("detector", sorted(ZONES))
@pytest.mark.parametrize("change", [datetime(2026, 3, 29), datetime(2026, 10, 25)], ids=["spring", "autumn"])
def test_when_clocks_change_office_hours_stay_usual(detector, change):
    step, per_day = 1800.0, 48
    berlin = ZoneInfo("Europe/Berlin")
    start = change.replace(tzinfo=berlin).timestamp() - 21 * 86_400
    times = start + step * np.arange(24 * per_day)
    local = [datetime.fromtimestamp(time, berlin) for time in times]
    busy = np.array([8 <= at.hour < 18 and at.weekday() < 5 for at in local])
    series = {f"e{n}": 100 + 100 * busy + 3 * np.random.default_rng([6, n]).normal(size=len(busy)) for n in range(6)}
    _, flag = judged(series, start, step=step, detector=ZONES[detector])
    assert flag[:, 21 * per_day :].mean() < 0.01
    _, elsewhere = judged(series, start, step=step, detector=detector)
    assert elsewhere[:, 21 * per_day :].mean() > flag[:, 21 * per_day :].mean()  # in a zone that does not change
