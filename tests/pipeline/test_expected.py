"""Answers to incidents: what is expected is not shown, what was learnt is the same to the bit, and undo is whole."""

import dataclasses
from datetime import datetime

import msgspec
import numpy as np
import pytest

from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.pipeline.expectation import NO_FEEDBACK, Expectation, JobFeedback, Limit, Reading, Said, expects
from exporter.pipeline.verdict import Verdict
from exporter.pipeline.worst_readings import ENDINGS
from tests.support.cycles import DAY, MONDAY, STEP, Recorded

A, B = (("instance", "a"),), (("instance", "b"),)
LEAD = 400
HIDDEN = {
    "streams",
    "hidden",
    "flag",
    "changed",
    "alert",
    "flapping",
    "severity",
    "since",
    "needed",
    "readings",
    "groups",
}


def series(seed: int, days: float = 2, height: float = 9.0, bursts: tuple[int, ...] = (600,), length: int = 40):
    """Return noise around 5 for two series; the first has bursts at these samples."""
    values = np.random.default_rng(seed).normal(5.0, 0.2, (2, 1, int(days * DAY)))
    for start in bursts:
        values[0, 0, start : start + length] += height
    return values


class Run:
    """A job over recorded samples, up to whatever sample is asked for."""

    def __init__(self, values, feedback: JobFeedback = NO_FEEDBACK) -> None:
        config = JobConfig.model_validate(
            {"channels": {"c0": "c0"}, "step": STEP, "window": 3600.0, "detector": "robust", "group": ["dc"]}
        )
        self.job = make_job("job", config, Recorded("ab", values, MONDAY), hold=True)
        self.job.heed(feedback)
        self.first = self.next = round(MONDAY / STEP) + LEAD

    def to(self, sample: int) -> list[Verdict]:
        last = round(MONDAY / STEP) + sample
        found = list(replay(self.job, self.next, last, lambda _: None))
        self.next = last + 1
        return found


def at(sample: float) -> float:
    return MONDAY + sample * STEP


def expected(given: float, since: float, when: str = "once", **more) -> Expectation:
    parts = {"over": None, "limits": [Limit("c0", high=16.0)], "longest": 7200.0} | more
    return Expectation(since=since, at=at(given), when=when, **parts)


def said(*given: Expectation, undone: float | None = None) -> JobFeedback:
    return JobFeedback(tuple(Said(A, each, undone) for each in given))


def same(one: Verdict, other: Verdict, but: frozenset[str] | set[str] = frozenset()) -> bool:
    names = (field.name for field in dataclasses.fields(Verdict) if field.name not in but)
    return all(equal(getattr(one, name), getattr(other, name)) for name in names)


def equal(a: object, b: object) -> bool:
    """Compare to the bit, arrays inside of dataclasses too."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(equal(getattr(a, n), getattr(b, n)) for n in type(a).__slots__)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)


def flags(verdicts: list[Verdict]) -> list[bool]:
    return [bool(each.flag[each.keys.index(A)]) for each in verdicts]


@pytest.fixture(params=[11, 12, 13])
def seed(request) -> int:
    return request.param


def test_an_expected_incident_is_taken_from_view_and_nothing_that_is_learnt_differs(seed):
    values = series(seed)
    plain = Run(values).to(700)
    since = next(each.since[0] for each in plain if each.flag[0])
    shown = Run(values, said(expected(610.5, since))).to(700)
    assert any(flags(plain))
    for before, after in zip(plain, shown, strict=True):
        assert same(before, after, HIDDEN)
        assert bool(after.flag[0]) is (bool(before.flag[0]) and before.time < at(610.5))
    (ends,) = [each for each in shown if each.changed[0] and not each.flag[0]]
    assert ends.time == at(611)
    assert ENDINGS[ends.readings.ending[0]] == "expected"
    assert ends.hidden is not None
    assert not ends.alert[0]
    assert np.isnan(ends.since[0])


def test_undo_restores_what_would_have_been_to_the_bit(seed):
    values = series(seed, length=60)
    plain, quiet = Run(values), Run(values)
    before = plain.to(610) and quiet.to(610)
    since = before[-1].since[0]
    answer = expected(610.5, since)
    quiet.job.heed(said(answer))
    hidden = quiet.to(630)
    assert not any(flags(hidden))
    quiet.job.heed(said(answer, undone=at(630.5)))
    for one, other in zip(plain.to(760)[20:], quiet.to(760), strict=True):
        assert same(one, other, {"changed"} if other.time == at(631) else set())
    mine, theirs = quiet.job.state(), plain.job.state()
    assert mine.keys() == theirs.keys()
    assert all(np.array_equal(mine[name], theirs[name], equal_nan=mine[name].dtype.kind == "f") for name in mine)


def test_a_backtest_with_the_answers_repeats_what_was_shown_to_the_bit(seed):
    values = series(seed, bursts=(600, 800, 1000))
    live = Run(values)
    verdicts = live.to(610)
    answer = expected(610.5, verdicts[-1].since[0], "always")
    live.job.heed(said(answer))
    verdicts += live.to(820)
    live.job.heed(said(answer, undone=at(1005.5)))
    verdicts += live.to(1100)
    assert all(
        same(*each) for each in zip(Run(values, said(answer, undone=at(1005.5))).to(1100), verdicts, strict=True)
    )


def test_the_next_night_is_silent_and_a_larger_one_is_not(seed):
    values = series(seed, days=4, bursts=(700, 700 + DAY))
    values[0, 0, 705 + 2 * DAY : 735 + 2 * DAY] += 30.0
    values[0, 0, 705 + 3 * DAY : 735 + 3 * DAY] -= 9.0
    since = next(each.since[0] for each in Run(values).to(710) if each.flag[0])
    shown = Run(values, said(expected(745, since, "daily"))).to(4 * DAY - 1)
    nights = [
        [each for each in shown if at(690 + night * DAY) <= each.time < at(800 + night * DAY)] for night in range(4)
    ]
    assert [any(flags(night)) for night in nights] == [True, False, True, True]
    assert any(each.hidden is not None for each in nights[1])
    assert not any(len(each.readings.rows) for each in nights[1])


@pytest.mark.parametrize(
    ("when", "offset", "covered"),
    [
        ("weekly", 7 * DAY, True), ("weekly", DAY, False), ("daily", DAY, True), ("daily", DAY + 60, True),
        ("daily", DAY + 75, False), ("weekly", 7 * DAY - 61, True), ("always", 12345, True), ("once", DAY, False),
    ],
)  # fmt: skip
def test_what_is_expected_is_about_incidents_that_begin_then(when, offset, covered):
    answer = expected(610, at(600), when)
    assert answer.covers(at(600 + offset), at(605 + offset)) is covered
    assert not msgspec.structs.replace(answer, until=at(500)).covers(at(600 + offset), at(605 + offset))
    if covered:
        assert not answer.covers(at(600 + offset), at(725 + offset))  # it lasts longer than was said


def test_an_incident_that_outgrows_its_answer_comes_back_with_when_it_began(seed):
    values = series(seed, length=60)
    values[0, 0, 630:660] += 20.0
    since = next(each.since[0] for each in Run(values).to(610) if each.flag[0])
    shown = Run(values, said(expected(610.5, since))).to(650)
    (back,) = [each for each in shown if each.changed[0] and each.flag[0] and each.time > at(615)]
    assert back.time >= at(630)
    assert back.since[0] == since


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([14.0, 5.0], False), ([17.0, 5.0], True), ([14.0, 6.4], False), ([14.0, 6.6], True), ([14.0, 3.6], False),
        ([14.0, 3.0], True), ([3.0, 5.0], True), ([3.6, 5.0], False), ([np.nan, 5.0], False),
    ],
)  # fmt: skip
def test_a_channel_that_leaves_its_band_by_chance_makes_an_incident_no_larger(values, shown):
    answer = expected(610, at(600), "always")
    reading = Reading(values, [5.0, 5.0], [4.0, 4.0], [6.0, 6.0])
    small = Reading([14.0, np.nan], [5.0, np.nan], [4.0, np.nan], [6.0, np.nan])
    assert expects(answer, ("c0", "c1"), reading, small, 4.0) is not shown
    if any(reading.sides()):
        assert expects(answer, ("c0", "c1"), small, reading, 4.0) is not shown


def test_what_lies_within_its_band_is_expected_up_to_its_score_and_only_if_that_was_answered():
    inside = Reading([5.5], [5.0], [4.0], [6.0])
    assert not expects(expected(610, at(600), "always"), ("c0",), inside, inside, 2.0)
    answer = expected(610, at(600), "always", limits=[], score=2.4)
    assert expects(answer, ("c0",), inside, inside, 2.3)
    assert not expects(answer, ("c0",), inside, inside, 2.5)
    unknown = Reading([9.0], [np.nan], [np.nan], [np.nan])
    assert expects(answer, ("c0",), unknown, unknown, 2.3)
    assert not expects(answer, ("c0",), unknown, unknown, 2.5)


def test_a_restart_in_between_changes_nothing(seed):
    values = series(seed, length=60)
    since = next(each.since[0] for each in Run(values).to(610) if each.flag[0])
    feedback = said(expected(610.5, since))
    whole = Run(values, feedback).to(700)
    one = Run(values, feedback)
    first = one.to(620)
    two = Run(values, feedback)
    two.job.restore(one.job.state())
    two.next = one.next
    assert all(same(*each) for each in zip(whole, [*first, *two.to(700)], strict=True))


def test_an_expected_series_does_not_count_for_its_group(seed):
    values = series(seed)
    values[1, 0, 600:640] += 9.0
    plain = Run(values).to(625)
    since = next(each.since[0] for each in plain if each.flag[0])
    shown = Run(values, said(expected(605.5, since))).to(625)
    assert shown[-1].flag.tolist() == [False, True]
    (group,), (without,) = plain[-1].groups.values(), shown[-1].groups.values()
    assert group > 1 >= without


def test_an_answer_accepts_a_level_at_the_same_sample_live_and_in_a_backtest(seed):
    values = series(seed, length=300)
    live = Run(values)
    verdicts = live.to(620)
    feedback = JobFeedback((), ((A, at(620.5)),))
    live.job.heed(feedback)
    verdicts += live.to(700)
    assert flags(verdicts)[-81]
    (closes,) = [each for each in verdicts if each.changed[0] and not each.flag[0]]
    assert (closes.time, ENDINGS[closes.readings.ending[0]]) == (at(621), "accepted")
    assert all(same(*each) for each in zip(Run(values, feedback).to(700), verdicts, strict=True))


@pytest.mark.parametrize("when", ["daily", "weekly"])
def test_the_same_hour_is_that_of_the_clocks_there_in_summer_too(when):
    def moment(text: str) -> float:
        return datetime.fromisoformat(text).timestamp()

    winter = moment("2026-01-05T01:30Z")  # 02:30 in Berlin, a Monday
    berlin = Expectation(winter, winter + 600, winter, when, [], zone="Europe/Berlin")
    without = Expectation(winter, winter + 600, winter, when, [])
    for local, utc, there, everywhere in (
        ("02:30", "2026-07-06T00:30Z", True, True),
        ("01:25", "2026-07-05T23:25Z", True, False),
        ("03:45", "2026-07-06T01:45Z", False, True),
    ):
        assert berlin.covers(moment(utc), moment(utc) + 60) == there, local
        assert without.covers(moment(utc), moment(utc) + 60) == everywhere, local
    unknown = Expectation(winter, winter + 600, winter, when, [], zone="Mars/Phobos")  # of a newer machine
    assert unknown.covers(moment("2026-07-06T01:45Z"), moment("2026-07-06T01:46Z"))
