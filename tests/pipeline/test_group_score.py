"""A rack that fails together is one story; a lone failure is not."""

from itertools import pairwise

import numpy as np

from exporter.pipeline.group_score import GroupScorer


def members(racks, size):
    return tuple((("host", f"r{r}h{h}"), ("rack", f"r{r}")) for r in range(racks) for h in range(size))


def rack(number):
    return (("rack", f"r{number}"),)


def test_a_fifth_of_a_rack_at_once_is_above_one_and_a_lone_host_is_not():
    keys, groups = members(4, 20), GroupScorer(["rack"], false_alarms=1.0)
    flag = np.zeros(80, bool)
    assert max(groups.score(keys, flag, 0.0, 60.0).values()) < 1
    flag[0] = flag[20:24] = True
    scores = groups.score(keys, flag, 60.0, 60.0)
    assert set(scores) == {rack(n) for n in range(4)}
    assert scores[rack(0)] <= 1
    assert scores[rack(1)] > 2
    assert scores[rack(2)] < 1


def test_the_share_of_a_group_in_trouble_leaves_out_the_member_itself_and_takes_few_for_ten():
    keys, groups = (*members(1, 21), *members(2, 3)[3:]), GroupScorer(["rack"], false_alarms=1.0)
    flag = np.zeros(24, bool)
    np.testing.assert_array_equal(groups.shared(keys, flag), np.zeros(24))
    flag[:6] = flag[21:23] = True
    shared = groups.shared(keys, flag)
    np.testing.assert_allclose(shared[:6], 5 / 20)
    np.testing.assert_allclose(shared[21:23], 1 / 9)
    assert not shared[~flag].any()
    assert GroupScorer([], 1.0).shared(keys, flag) is None


def test_a_group_of_one_is_never_in_trouble_as_a_group():
    assert GroupScorer(["rack"], false_alarms=1.0).score(members(1, 1), np.array([True]), 0.0, 60.0)[rack(0)] <= 1


def test_what_a_group_does_every_hour_becomes_its_habit():
    keys, groups = members(1, 20), GroupScorer(["rack"], false_alarms=1.0)
    together = np.arange(20) < 4
    first = groups.score(keys, together, 0.0, 60.0)[rack(0)]
    for hour in range(1, 100):
        last = groups.score(keys, together, 3600.0 * hour, 3600.0)[rack(0)]
    assert first > 2
    assert last < 1


def test_more_at_once_is_rarer():
    keys = members(1, 50)
    scores = [GroupScorer(["rack"], 1.0).score(keys, np.arange(50) < n, 0.0, 60.0)[rack(0)] for n in range(50)]
    assert all(b >= a for a, b in pairwise(scores))


def test_without_group_labels_there_are_no_groups():
    assert GroupScorer([], 1.0).score(members(1, 2), np.array([True, True]), 0.0, 60.0) == {}


def test_failures_of_hours_do_not_hide_the_next_one():
    """Two racks of 20; a fifth of one fails for four hours, once in five days."""
    keys, groups, together = members(2, 20), GroupScorer(["rack"], 1.0), np.arange(40) < 4
    first = []
    for at in range(4 * 7 * 288):
        failing = at % (5 * 288) >= 5 * 288 - 48
        score = groups.score(keys, together & failing, 300.0 * at, 300.0)[rack(0)]
        if at % (5 * 288) == 5 * 288 - 48:
            first.append(score)
    assert len(first) == 5
    assert min(first) > 1


def test_trouble_without_end_becomes_normal_day_by_day():
    keys, groups, together = members(1, 20), GroupScorer(["rack"], 1.0), np.arange(20) < 4
    scores = [groups.score(keys, together, 600.0 * at, 600.0)[rack(0)] for at in range(14 * 144)]
    assert scores[6 * 144 // 4] > 1
    assert scores[-1] < 1


def test_independent_members_alarm_their_group_less_than_once_a_week_from_the_first_week_on():
    rng, keys, groups = np.random.default_rng(1), members(10, 50), GroupScorer(["rack"], 1.0)
    left, above, alarms = np.zeros(500), np.zeros(10, bool), 0
    for at in range(4 * 2016):
        left = np.where(rng.random(500) < 1 / 2016, 2, np.maximum(left - 1, 0))  # ten minutes, once a week
        now = np.array(list(groups.score(keys, left > 0, 300.0 * at, 300.0).values())) > 1
        alarms += int((now & ~above).sum())
        above = now
    assert alarms / 40 < 1
