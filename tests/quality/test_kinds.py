"""The kinds of series are what they are called, and are judged and counted as the table says."""

import numpy as np
import pytest

from detectors.units import DAY, HOUR, WEEK
from tests.fleet.mixed import MixedFleet
from tests.quality import whole
from tests.quality.kinds import PARTS, Count, Part, _add, _zone, cells, count, of_one_length, promises
from tests.support.kinds_of_series import SHAPES, START, ZONE, Change, Clock, Made, make


@pytest.mark.parametrize("step", [5.0, 60.0, 300.0, 3600.0])
@pytest.mark.parametrize("name", SHAPES)
def test_a_series_can_be_made_at_every_step_and_is_the_same_again(name, step):
    days = 5 if step < 60 else 10
    made, again = (make(name, np.random.default_rng(3), step, days) for _ in range(2))
    np.testing.assert_array_equal(made.values, again.values)
    assert len(made.values) == len(made.quiet) == days * DAY / step
    assert np.isfinite(made.values).all()
    assert (made.values >= 0).all()
    assert len(made.changes) == 3
    for change in made.changes:
        assert change.end - change.begin == max(2 * HOUR / step, 6)
        assert not made.quiet[change.begin : change.end].any()


def test_counts_are_poisson_at_the_rate_of_the_step():
    for step in (60.0, 300.0):
        made = make("requests, 30 a minute", np.random.default_rng(4), step, 14, changes=0)
        assert np.mean(made.values) == pytest.approx(30 * step / 60, rel=0.15)
        assert (made.values == np.rint(made.values)).all()


def test_a_change_multiplies_what_is_expected():
    made = make("gauge, slow noise", np.random.default_rng(5), 60.0, 6, turn=1)
    level = np.median(made.values)
    for change in made.changes:
        assert np.mean(made.values[change.begin : change.end]) == pytest.approx(change.factor * level, rel=0.1)


def test_the_clocks_change_within_the_series():
    local = Clock(START + HOUR * np.arange(24 * 28), HOUR).local(ZONE)
    assert np.diff(local.times).max() == 2 * HOUR
    assert np.diff(local.times).min() == HOUR


def test_openings_count_after_three_days_and_outside_of_changes():
    flag, step = np.zeros(10 * 24, bool), HOUR
    flag[[10, 100, 150, 200]] = True  # too early; by chance; a change found; by chance
    quiet = np.ones(240, bool)
    quiet[149:160] = False
    total = Count()
    _add(total, Made(np.zeros(240), quiet, (Change(150, 156, 4.0), Change(220, 226, 0.5))), flag, step)
    assert total.opened == 2
    assert total.weeks == pytest.approx((168 - 11) * HOUR / WEEK)
    assert dict(total.found) == {4.0: [True], 0.5: [False]}
    part = PARTS[0]
    rows = cells([(part, dict.fromkeys(SHAPES, total))])
    assert rows["business"]["-50 % found"] == "0.00"
    assert rows["business"]["+300 % found"] == "1.00"
    assert rows["all"][f"opened, {part.title}"] == "2.14"
    assert [kept for _, kept, _ in promises([(part, dict.fromkeys(SHAPES, total))])] == [0, len(SHAPES)]


def test_a_part_is_judged_through_the_live_cycle():
    part = Part(3600.0, 1.0, 12, 1)
    found = count([part], seed=1)[part]
    assert all(each.weeks > 0 for each in found.values())
    hits = [hit for name in ("business", "gauge, slow noise") for sizes in found[name].found.values() for hit in sizes]
    assert any(hits)


def test_the_same_series_are_judged_at_several_lines_as_at_each_alone():
    parts = [Part(3600.0, line, 12, 1) for line in (1.0, 0.25, 7.0)]
    together = count(parts, seed=2)
    assert together == {part: count([part], seed=2)[part] for part in parts}
    opened = [sum(each.opened for each in together[part].values()) for part in parts]
    assert opened[1] < opened[0] < opened[2]
    alone = {part for group in of_one_length() for part in group if len(group) == 1}
    assert {part.step for part in alone} == {5.0, 3600.0}


def test_a_time_zone_is_told_where_the_clocks_change():
    zones = {part.title: _zone("clock change", part) for part in PARTS}
    assert {title for title, zone in zones.items() if zone is None} == {"5 s, line 1"}
    assert set(zones.values()) == {None, ZONE}
    assert _zone("business", PARTS[0]) is None


def test_promises_of_the_whole_are_counted():
    lines = {what: (kept, of) for what, kept, of in whole.promises({whole.SCENARIOS: (60, 65)})}
    assert list(lines.values()) == [(60, 65)]


def test_a_mixed_fleet_has_many_kinds_and_its_failures():
    fleet = MixedFleet(entities=24, group=6, step=3600.0, warm_up=1.0, weeks=1.0, incidents=4, failing_groups=1, seed=2)
    values = np.array(list(fleet.values()))
    assert values.shape == (fleet.samples, 24)
    calm = np.array(list(MixedFleet(**{**vars_of(fleet), "incidents": 0, "failing_groups": 0}).values()))
    assert (values != calm)[~fleet.affected(0.0).T].sum() == 0
    for trouble in fleet.troubles:
        inside = values[trouble.begin : trouble.end, trouble.rows], calm[trouble.begin : trouble.end, trouble.rows]
        np.testing.assert_allclose(inside[0], inside[1] * trouble.factor)


def vars_of(fleet):
    names = ("entities", "group", "step", "warm_up", "weeks", "seed")
    return {name: getattr(fleet, name) for name in names}
