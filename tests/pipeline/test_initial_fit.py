"""A new job replays the past through its own cycle; whatever the pieces, it ends where a live run would have been."""

import itertools
import threading
from functools import partial

import numpy as np
import pytest
import structlog

from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.runner import Saving
from exporter.service.state_files import StateFolder
from exporter.source.errors import Unreachable
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.fake import DIGESTS, recorded
from tests.support.runners import runner_of
from tests.support.waiting import PATIENCE

END = 600
FAST = ("auto", "half_space_trees", "isolation_forest", "robust", "seasonal")
"""The others are slower and keep their state in the same ways; `test_state` restarts them all."""
FIELDS = ("score", "flag", "severity", "alert", "since", "expected", "lower", "upper", "values")


def churning(**settings):
    """Return a bench with 10 hours of entities that come, pause, leave and return, one of them with an outage."""
    bench = Bench(**{"window": "20m", "history": "8h", "group": ["rack"], "detector": "robust"} | settings)
    rng = np.random.default_rng(5)
    alive = {
        "steady": [(0, 900)],
        "early": [(0, 210)],
        "late": [(333, 900)],
        "pauses": [(0, 300), (308, 480), (530, 900)],
        "brief": [(250, 262)],
        "back": [(0, 140), (400, 900)],
    }
    for name, spans in alive.items():
        values = 10 + rng.normal(size=900)
        if name == "steady":
            values[560:620] = 50.0
        samples = {STEP * m: float(values[m]) for begin, end in spans for m in range(begin, end)}
        bench.source.put("q", {"i": name, "rack": f"r{len(name) % 2}"}, samples)
    return bench


def pieces_of(monkeypatch, samples):
    monkeypatch.setattr("exporter.source.chunks._AT_ONCE", samples)
    monkeypatch.setattr("exporter.source.chunks._UNSEEN", 1)
    monkeypatch.setattr("exporter.source.chunks._FIRST_COLUMNS", max(samples // 4, 1))


def same(mine, theirs):
    assert [v.time for v in mine] == [v.time for v in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert one.keys == other.keys
        assert one.groups == other.groups
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=f"{name} at {one.time}")


def same_state(one, other, but=()):
    mine, theirs = one.state(), other.state()
    assert mine.keys() == theirs.keys()
    for name in mine:
        if but and name.startswith(but):
            continue
        if not name.endswith(("models", "forest")):  # pickles of equal models differ
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


@pytest.mark.parametrize("detector", FAST)
def test_read_piece_by_piece_the_history_teaches_the_same_to_the_bit(detector, monkeypatch):
    whole, pieces = churning(detector=detector), churning(detector=detector)
    pieces_of(monkeypatch, 10**6)
    whole.cycle(END)
    pieces_of(monkeypatch, 37)
    pieces.cycle(END)
    assert len(pieces.source.asked) > 20 * len(whole.source.asked)
    same_state(pieces.job, whole.job)
    for minute in range(END + 1, END + 40):
        whole.cycle(minute)
        pieces.cycle(minute)
    same(pieces.verdicts, whole.verdicts)
    assert len(pieces.verdicts) == 40


@pytest.mark.parametrize("detector", ["auto", "robust", "seasonal"])
def test_after_the_warm_up_a_job_is_where_a_live_one_would_be(detector):
    live, backfill_progress = churning(detector=detector), churning(detector=detector)
    backfill_progress.cycle(END)
    live.job.settings = JobSettings("job", live.config.model_copy(update={"history": None}), DIGESTS)
    first = END - 8 * 60 + 1
    live.job.start_backfill(first * STEP, first * STEP)
    live.job.learnt.judged, live.job.learnt.warming = (first - 1) * STEP, False
    for minute in range(first, END + 1):
        live.cycle(minute)
    # Of the past only habits are learnt: nobody is told of series that ended in it.
    same_state(backfill_progress.job, live.job, but="presence/")
    assert backfill_progress.verdicts[0].flag.any()
    np.testing.assert_array_equal(backfill_progress.verdicts[0].score, live.verdicts[-1].score)


@pytest.mark.parametrize("detector", ["auto", "isolation_forest", "robust"])
def test_what_came_and_went_during_an_outage_is_judged_as_if_there_had_been_none(detector, monkeypatch):
    live, late = churning(detector=detector), churning(detector=detector)
    live.cycle(200)
    late.cycle(200)
    for minute in range(201, END):
        live.cycle(minute)
    pieces_of(monkeypatch, 50)
    for minute in (205, 320, END - 1):
        late.cycle(minute)
    same(late.verdicts, live.verdicts)
    assert len({v.keys for v in live.verdicts}) > 6


@pytest.mark.parametrize(
    ("detector", "stopped_after"),
    [
        ("auto", 3),
        ("auto", 300),
        ("robust", 100),
        ("robust", 478),
        ("isolation_forest", 100),
        ("half_space_trees", 100),
    ],
)
def test_a_restart_in_the_middle_of_the_warm_up_goes_on_there(detector, stopped_after, tmp_path):
    never, stopped = churning(detector=detector), churning(detector=detector)
    never.cycle(END)
    left = iter(range(stopped_after))
    should_continue = lambda: next(left, None) is not None  # noqa: E731 - one line says it
    assert not list(evaluate(stopped.job, END * STEP, partial(stopped.telemetry.stage, "job"), should_continue))
    assert stopped.job.warming
    folder = StateFolder(tmp_path, list)
    folder.save(stopped.job)
    stopped.job = Job(JobSettings("job", stopped.config, DIGESTS), stopped.source)
    assert folder.restore(stopped.job)
    stopped.source.asked.clear()
    stopped.cycle(END)
    assert stopped.source.asked[0][1] >= (END - 480 + 1) * STEP
    same_state(stopped.job, never.job)
    for minute in range(END + 1, END + 10):
        never.cycle(minute)
        stopped.cycle(minute)
    same(stopped.verdicts, never.verdicts)


def test_a_source_that_fails_in_the_middle_costs_what_was_not_read_yet(monkeypatch):
    pieces_of(monkeypatch, 60)
    never, failed = churning(), churning()
    never.cycle(END)
    answer = failed.source.range

    def breaks(expr, start, end, step, max_series=None):
        if start > 400 * STEP:
            raise Unreachable("down")
        return answer(expr, start, end, step, max_series)

    failed.job.model._history_used, failed.job.model.fitted = True, True
    failed.source.range = breaks
    with pytest.raises(Unreachable):
        failed.cycle(END)
    assert 0.5 < failed.job.backfill_progress(END * STEP) < 0.7
    failed.source.range = answer
    failed.cycle(END)
    same(failed.verdicts, never.verdicts)


@pytest.mark.parametrize("detector", ["robust", "auto"])
def test_a_sample_whose_judging_failed_is_judged_by_the_next_cycle(detector):
    """Row 41: memory may be short for a moment."""
    never, failed = churning(detector=detector), churning(detector=detector)
    for bench in (never, failed):
        bench.cycle(500)
    score, failing = failed.job.model.detector.score, iter([True])

    def short_of_memory(batch):
        if next(failing, False):
            raise MemoryError
        return score(batch)

    failed.job.model.detector.score = short_of_memory
    with pytest.raises(MemoryError):
        failed.cycle(501)
    for minute in (501, 502, 503):
        never.cycle(minute)
        if minute > 501:
            failed.cycle(minute)
    same(failed.verdicts, never.verdicts)


def fits_of(bench):
    """Record how many samples and which last time each fit sees."""
    seen, fit = [], bench.job.model.detector.fit

    def recording(batch):
        seen.append((len(batch.times), batch.times[-1] / STEP))
        return fit(batch)

    bench.job.model.detector.fit = recording
    return seen


def test_a_model_is_fitted_on_the_whole_history_or_on_its_newest_part(monkeypatch):
    short, long = churning(detector="isolation_forest"), churning(detector="isolation_forest")
    fits = fits_of(short)
    short.cycle(END)
    assert fits == [(480, END)]
    assert len(set(short.source.asked)) == len(short.source.asked)  # nothing was read twice
    monkeypatch.setattr("exporter.pipeline.initial_fit.HELD", 400)
    pieces_of(monkeypatch, 80)
    fits = fits_of(long)
    long.cycle(END)
    [(columns, last)] = fits
    assert last == END
    assert 80 <= columns <= 400 / 3
    assert np.isfinite(long.verdicts[-1].score).any()


def test_a_first_answer_that_was_partial_is_made_up_for_with_the_whole_history():
    bench = churning(detector="isolation_forest")
    fits = fits_of(bench)
    bench.source.warnings = ("one store did not answer",)
    bench.cycle(END)
    bench.cycle(END + 1)
    assert not fits
    bench.source.warnings = ()
    bench.cycle(END + 2)
    assert fits == [(480, END + 2)]
    bench.cycle(END + 3)
    assert len(fits) == 1


def test_too_little_history_is_asked_for_once_and_not_every_minute():
    bench = Bench(detector="isolation_forest", window="1h", history="8h")
    bench.put("a", range(END - 5, END + 100))
    for minute in range(END, END + 60):
        bench.cycle(minute)
    assert len(set(bench.source.asked)) == len(bench.source.asked)
    assert np.isfinite(bench.verdicts[-1].score).all()


def test_time_before_the_first_series_began_counts_for_nothing():
    bench = Bench(history="8h", detector="robust")
    bench.put("a", range(END - 60, END + 1), value=1.0)
    counted, decide = [], bench.job.learnt.budget.decide
    bench.job.learnt.budget.decide = lambda keys, *rest: (counted.append(keys), decide(keys, *rest))[1]
    bench.cycle(END)
    assert len(counted) == 61
    assert all(counted)


def test_a_query_without_series_is_judged_to_nothing_by_the_detectors():
    for detector in FAST:
        for channels in ({"channels": {"a": "q", "b": "q"}, "expr": None}, {}):
            bench = Bench(detector=detector, **channels)
            assert bench.cycle(END).keys == ()
            assert bench.cycle(END + 1).keys == ()


def test_memory_is_a_window_and_a_piece_however_long_the_history(monkeypatch):
    monkeypatch.setattr("exporter.pipeline.initial_fit.HELD", 2000)
    pieces_of(monkeypatch, 500)
    bench = Bench(window="30m", history="30d", detector="robust")
    rng = np.random.default_rng(0)
    noise = (10 + rng.normal(size=(20, 1440))).tolist()
    for name, values in enumerate(noise):
        bench.source.put("q", {"i": str(name)}, {STEP * m: value for m, value in enumerate(values)})
    sizes = []
    should_continue = lambda: sizes.append(bench.job.window._values.size) or True  # noqa: E731 - one line says it
    list(evaluate(bench.job, 1440 * STEP, partial(bench.telemetry.stage, "job"), should_continue))
    assert len(sizes) > 1000
    assert max(sizes) <= 20 * (30 + 30 // 4 + 16)


def test_progress_is_shown_and_nothing_looks_judged_before_the_end(monkeypatch):
    monkeypatch.setattr("exporter.service.runner.SHOW_INTERVAL", 0.0)
    monkeypatch.setattr("exporter.service.runner.LOG_INTERVAL", 0.0)
    bench, seen = churning(), []
    runner = runner_of(bench)
    show = runner._show_warm_up

    def showing(now):
        show(now)
        bench.page.render()
        seen.append((bench.sample("warm_up_ratio"), bench.sample("series", detector="robust", state="warming")))
        assert b"\nanomaly_score{" not in bench.page.current.body
        assert bench.sample("series", detector="robust", state="ready") == 0

    runner._show_warm_up = showing
    with structlog.testing.capture_logs() as logs:
        runner.cycle(END * STEP)
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    assert shares[-1] > 0.99
    assert max(count for _, count in seen) >= 3
    assert bench.sample("warm_up_ratio") == 1
    lines = [line for line in logs if line["event"] == "warming_up"]
    assert lines[0]["job"] == "job"
    assert lines[0]["reached"].startswith("1970-01-01T02:0")
    bench.page.render()
    assert b"\nanomaly_score{" in bench.page.current.body


def test_a_stop_ends_a_warm_up_at_once_and_saves_what_was_learnt(tmp_path):
    bench = churning()
    score, begun = bench.job.model.detector.score, threading.Event()
    stopped, seen = threading.Event(), itertools.count()

    def slow(batch):
        if next(seen) == 20:
            begun.set()
            stopped.wait(PATIENCE)
        return score(batch)

    bench.job.model.detector.score = slow
    runner = runner_of(bench, Saving(StateFolder(tmp_path, list)))
    thread = threading.Thread(target=runner.cycle, args=(END * STEP,))
    thread.start()
    assert begun.wait(PATIENCE)
    runner.stop()
    stopped.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    runner.save()
    assert bench.job.warming
    fresh = Job(JobSettings("job", bench.config, DIGESTS), bench.source)
    assert StateFolder(tmp_path, list).restore(fresh)
    assert fresh.warming
    assert fresh.judged == bench.job.judged < END * STEP


def test_another_job_is_judged_while_one_warms_up():
    slow, other = churning(), Bench(detector="robust")
    other.put("a", range(100))
    other.page, other.metrics, other.telemetry = slow.page, slow.metrics, slow.telemetry
    other.job = Job(
        JobSettings("other", other.config, DIGESTS),
        other.source,
        recorded(slow.metrics, other.config, "other"),
    )
    score, begun, judged_other = slow.job.model.detector.score, threading.Event(), threading.Event()

    def slowly(batch):
        begun.set()
        judged_other.wait(PATIENCE)
        return score(batch)

    slow.job.model.detector.score = slowly
    warming, judged = runner_of(slow), runner_of(other)
    thread = threading.Thread(target=warming.cycle, args=(END * STEP,))
    thread.start()
    assert begun.wait(PATIENCE)
    for minute in range(50, 55):
        judged.cycle(minute * STEP)
    assert judged.published
    assert not warming.published
    assert thread.is_alive()
    warming.stop()
    judged_other.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_state_is_saved_while_the_warm_up_goes_on(tmp_path):
    """Row 24: after a kill the warm-up goes on near where it was."""
    bench = churning()
    folder, saved = StateFolder(tmp_path, list), []
    runner = runner_of(bench, Saving(folder, 0.0))
    save = folder.save
    folder.save = lambda job: (saved.append(job.judged), save(job))
    runner.cycle(END * STEP)
    assert len(saved) > 400
    assert saved == sorted(saved)


@pytest.mark.parametrize("second", [0, 29, 31, 59])
def test_of_a_long_window_the_newest_samples_are_judged_whenever_in_the_minute_the_start_is(second):
    bench, seen = Bench(window="250h", detector="robust"), []
    bench.put("a", range(14_900, 15_010), value=1.0)
    decide = bench.job.learnt.incidents.decide
    bench.job.learnt.incidents.decide = lambda keys, score, now, *rest: (
        seen.append(now),
        decide(keys, score, now, *rest),
    )[1]
    bench.cycle(15_000 + second / 60)
    assert [now / STEP for now in seen] == [14_997, 14_998, 14_999, 15_000]


def test_a_warm_up_counts_no_cycles_as_skipped():
    bench = churning()
    runner = runner_of(bench)
    assert runner.cycle(END * STEP) is True
    assert runner.cycle((END + 1) * STEP) is False
