"""The alert lasts exactly as long as the incident."""

from dataclasses import astuple

import numpy as np
import pytest

from detectors import Judgement
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.policy import INVALID_SCORE, STAYS_OPEN, Policy
from tests.support.batches import batch, keys

N = np.nan
NAMES = keys(1)


def run(scores, **options):
    """Return the decisions for one entity's scores, a minute apart."""
    settings = {"open_after": 1, "clear_after": 300.0, "max_hold": 86400.0} | options
    incidents = IncidentTracker(60.0, **settings)
    return [incidents.decide(NAMES, np.array([s], float), 60.0 * n, 60.0) for n, s in enumerate(scores)]


def flags(scores, **options):
    return "".join("#" if d.flag[0] else "." for d in run(scores, **options))


def test_it_opens_at_once_and_closes_when_it_was_calm_long_enough():
    assert flags([0, 2, 2, 0, 0, 0, 0, 0, 0]) == ".######.."
    assert flags([0, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0]) == ".########.."


def test_a_score_just_below_one_opens_nothing_and_keeps_open_what_is_open():
    assert flags([0.9] * 9) == "." * 9
    assert flags([2] + [0.9] * 9) == "#" * 10
    assert flags([2] + [0.9] * 9 + [STAYS_OPEN] * 6) == "#" * 14 + ".."


def test_an_incident_closes_when_what_is_left_of_it_is_less_than_the_user_cares_for():
    policy = Policy(least_deviation=6)
    left = policy_score(policy, 15)
    assert flags([2] + [left] * 9) == "#####....."


def test_exactly_one_is_not_anomalous():
    assert flags([1.0, 1.0, 1.0000001]) == "..#"


def test_open_after_asks_for_scores_in_a_row():
    assert flags([2, 0, 2, 2, 0, 2, 2, 2], open_after=3) == ".......#"


def test_without_a_verdict_the_flag_stays_and_the_clock_stands_still():
    assert flags([2, N, N, N, N, N, N, 0, 0, 0, 0, 0]) == "###########."
    assert flags([N, N]) == ".."


def test_an_incident_without_data_for_an_hour_is_closed():
    assert flags([2] + [N] * 61) == "#" * 60 + ".."


def test_a_lasting_change_is_adopted_after_max_hold():
    decisions = run([2] * 8, max_hold=300.0)
    assert [bool(d.adopted[0]) for d in decisions] == [False] * 5 + [True] + [False] * 2
    assert [bool(d.flag[0]) for d in decisions] == [True] * 5 + [False] + [True] * 2


def test_severity_grows_by_ln_score_a_minute_and_is_handed_over_at_the_end():
    decisions = run([np.e, np.e, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert [d.severity[0] for d in decisions] == pytest.approx([1, 2, 2, 2, 2, 2, 0])
    assert decisions[-1].closed_severity == pytest.approx([2.0])
    assert all(d.closed_severity == [0.0] for d in decisions[:-1])


def test_the_beginning_is_kept_while_it_lasts():
    decisions = run([0, 2, 2, 0, 0, 0, 0, 0])
    assert [d.since[0] for d in decisions] == pytest.approx([N] + [60] * 6 + [N], nan_ok=True)
    assert [bool(d.changed[0]) for d in decisions] == [False, True] + [False] * 5 + [True]


def flapping(decisions):
    return "".join("~" if d.flapping[0] else "#" if d.flag[0] else "." for d in decisions)


def test_what_opens_and_closes_too_often_is_one_incident_until_it_was_quiet_for_the_window():
    decisions = run([2, 0] * 4 + [0] * 8, clear_after=60.0, flap_limit=4, flap_window=300.0)
    assert flapping(decisions) == "#.#.~~~~~~~~...."
    assert [d.since[0] for d in decisions[4:12]] == [240.0] * 8
    assert [n for n, d in enumerate(decisions) if d.changed[0]] == [0, 1, 2, 3, 4, 12]
    assert decisions[-1].severity[0] == 0
    assert decisions[12].closed_severity == pytest.approx([2 * np.log(2)])


def test_turns_that_the_limit_allows_are_no_flapping():
    assert "~" not in flapping(run([2, 0] * 2 + [0] * 10, clear_after=60.0, flap_limit=4, flap_window=600.0))
    assert "~" not in flapping(run([2, 0, 0, 0] * 8, clear_after=60.0, flap_limit=4, flap_window=420.0))
    assert "~" in flapping(run([2, 0, 0, 0] * 8, clear_after=60.0, flap_limit=4, flap_window=600.0))


def test_by_default_five_turns_within_an_hour_are_flapping():
    """Five minutes of calm close an incident, so the third opening within the hour is held."""
    shown = flapping(run([2] + [0] * 9 + [2] + [0] * 9 + [2] + [0] * 80))
    assert shown.index("~") == 20
    assert shown.count("~") == 65  # the hidden closing, five minutes later, and an hour of quiet
    assert shown.endswith(".")


def test_an_incident_that_goes_on_outlives_its_flapping():
    shown = flapping(run([2, 0] * 3 + [2] * 12, clear_after=60.0, flap_limit=4, flap_window=300.0))
    assert shown == "#.#.~~~~~~~#######"


def test_flapping_does_not_end_for_want_of_data_but_is_not_held_for_ever():
    quiet = run([2, 0] * 3 + [N] * 30 + [0] * 6, clear_after=60.0, flap_limit=4, flap_window=300.0)
    assert flapping(quiet) == "#.#." + "~" * 36 + ".."
    gone = run([2, 0] * 3 + [N] * 61, clear_after=60.0, flap_limit=4, flap_window=300.0)
    assert flapping(gone) == "#.#." + "~" * 61 + ".."
    long = run([2, 0] * 12, clear_after=60.0, flap_limit=4, flap_window=600.0, max_hold=600.0)
    assert flapping(long) == "#.#." + "~" * 10 + "..#.#.~~~~"
    assert [n for n, d in enumerate(long) if d.adopted[0]] == [14]


def test_entities_flap_each_for_itself_and_keep_it_over_a_restart():
    settings = {"open_after": 1, "clear_after": 60.0, "max_hold": 86400.0, "flap_limit": 3, "flap_window": 600.0}
    one, names = IncidentTracker(60.0, **settings), keys(3)
    for n in range(5):
        last = one.decide(names, np.array([2.0, 2.0 * (n % 2), 0.0]), 60.0 * n, 60.0)
    assert last.flapping.tolist() == [False, True, False]
    other = IncidentTracker(60.0, **settings)
    other.restore(one.state())
    for n in range(5, 20):
        score = np.array([0.0, 0.0, 2.0 * (n % 3 == 0)])
        a, b = one.decide(names, score, 60.0 * n, 60.0), other.decide(names, score, 60.0 * n, 60.0)
        assert (a.flag.tolist(), a.flapping.tolist()) == (b.flag.tolist(), b.flapping.tolist())


def test_the_contribution_to_an_incident_is_weighted_by_its_severity_and_told_at_its_end():
    incidents, nobody = IncidentTracker(60.0, 1, 120.0, 86400.0, channels=2), [[N, N]]
    shares = [[[1, 0]], [[0, 1]], [[0, 1]], [[0, 1]], [[1, 0]]]
    scores = [np.e**3, np.e, 0.5, 0.5, 0.5]
    decisions = [
        incidents.decide(NAMES, np.array([score]), 60.0 * n, 60.0, np.array(contribution, float))
        for n, (score, contribution) in enumerate(zip(scores, shares, strict=True))
    ]
    assert [bool(d.flag[0]) for d in decisions] == [True, True, True, False, False]
    expected = [[[1.0, 0.0]], *[[[0.75, 0.25]]] * 3, nobody]
    np.testing.assert_allclose([d.contribution for d in decisions], expected)


def policy_score(policy, value, score=2.0, expected=10.0):
    nothing = np.full((1, 1), N)
    judgement = Judgement(np.array([score]), np.array([[expected]]), nothing, nothing, nothing)
    return float(policy.apply(judgement, batch(np.array([[[expected, value]]])))[0])


@pytest.mark.parametrize(
    ("policy", "value", "score"),
    [
        (Policy(), 15, 2.0),
        (Policy(direction="above"), 15, 2.0),
        (Policy(direction="above"), 5, STAYS_OPEN),
        (Policy(direction="below"), 5, 2.0),
        (Policy(direction="below"), 15, STAYS_OPEN),
        (Policy(least_deviation=6), 15, STAYS_OPEN),
        (Policy(least_deviation=5), 15, 2.0),
        (Policy(least_deviation=5, direction="below"), 5, 2.0),
        (Policy(false_alarms=2.0**2.4), 15, 4.0),
        (Policy(false_alarms=2.0**-2.4), 15, 1.0),
        (Policy(highest=14), 15, INVALID_SCORE),
        (Policy(lowest=0), -1, INVALID_SCORE),
    ],
)
def test_only_deviations_that_count_stay_above_one(policy, value, score):
    assert policy_score(policy, value) == pytest.approx(score)


def test_an_invalid_value_is_anomalous_before_the_detector_can_tell():
    assert policy_score(Policy(highest=14), 15, score=N) == INVALID_SCORE


def test_where_there_is_no_forecast_the_score_stands():
    assert policy_score(Policy(direction="above", least_deviation=3), 5, expected=N) == 2.0


def test_no_verdict_stays_no_verdict():
    assert np.isnan(policy_score(Policy(direction="above"), 15, score=N))


@pytest.mark.parametrize("seed", range(6))
def test_rows_without_an_incident_need_no_decision(seed):
    """Whoever comes, goes, flaps, falls silent or lies outside its valid range: the same as deciding on every row."""

    class Whole(IncidentTracker):
        def _concerned(self, score, now):
            return slice(None)

    random = np.random.default_rng(seed)
    settings = {"open_after": 1 + seed % 3, "clear_after": 180.0, "max_hold": 3600.0, "flap_limit": 2}
    some, whole = (kind(60.0, **settings, channels=2) for kind in (IncidentTracker, Whole))
    names, level = keys(40), np.zeros(40)
    for n in range(300):
        level = np.where(random.random(40) < 0.03, random.choice([0, 0, 0, 0.7, 2, INVALID_SCORE], 40), level)
        score = np.where(random.random(40) < 0.1, N, level)
        score = np.full(40, N) if n == 150 else score
        accepted, moving, inside = (random.random(40) < share for share in (0.01, 0.2, 0.8))
        options = (60.0 * n, 60.0, random.random((40, 2)), accepted, moving, inside)
        for field, one, other in zip(
            IncidentUpdate.__slots__,
            astuple(some.decide(names, score, *options)),
            astuple(whole.decide(names, score, *options)),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other, err_msg=f"{field} at {n}")
        if n in (100, 200):
            names = names[3:] + tuple((("pod", f"late{n}{at}"),) for at in range(3))
