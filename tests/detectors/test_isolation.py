"""The closed form against scikit-learn: as near to a forest as another forest with another seed."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import IsolationForest

from detectors.isolation_forest.closed_form import average_path
from tests.support.isolation import isolation_score

RNG = np.random.default_rng(5)
N = 60

KINDS = {
    "gaussian": lambda: RNG.normal(10, 1, N),
    "heavy": lambda: RNG.standard_t(3, N),
    "integers": lambda: RNG.poisson(4, N).astype(float),
    "mostly zero": lambda: np.where(RNG.random(N) < 0.15, RNG.exponential(1, N), 0.0),
    "repeats": lambda: RNG.choice([1.0, 2.0, 5.0, 9.0], N),
}


def closed(rows, values):
    """The scores of `values`, each the last of its row."""
    at = np.array([np.flatnonzero(row == value)[0] for row, value in zip(rows, values, strict=True)])
    turned = rows.copy()
    every = np.arange(len(rows))
    turned[every, at], turned[:, -1] = rows[:, -1], values
    return isolation_score(turned)


def forest(row, seed):
    model = IsolationForest(n_estimators=100, random_state=seed).fit(row[:, None])
    return -model.score_samples(row[:, None])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_value_of_a_row_ranks_as_in_a_forest(kind):
    agreement, itself = [], []
    for seed in range(3):
        row = KINDS[kind]()
        ours = closed(np.tile(row, (N, 1)), row)
        first, second = forest(row, seed), forest(row, seed + 100)
        agreement.append(spearmanr(ours, first).statistic)
        itself.append(spearmanr(first, second).statistic)
    assert np.mean(agreement) > min(0.93, np.mean(itself) - 0.03)


def test_newest_points_of_many_series_rank_as_in_their_own_forests():
    rows = np.array([RNG.normal(0, 1, N) for _ in range(30)])
    rows[:, -1] += RNG.choice([0, 2, 4, 8], 30)
    ours = closed(rows, rows[:, -1])
    theirs = [forest(row, 0)[-1] for row in rows]
    other = [forest(row, 7)[-1] for row in rows]
    assert spearmanr(ours, theirs).statistic > spearmanr(theirs, other).statistic - 0.03


def simulated(row, x, trees=3_000):
    """Return the mean depth at which x stands alone, by cutting at random."""
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(trees):
        left, depth = row, 0
        while len(left) > 1 and left.min() < left.max():
            cut = rng.uniform(left.min(), left.max())
            left = left[left <= cut] if x <= cut else left[left > cut]
            depth += 1
        total += depth + float(average_path(np.array([float(len(left))]))[0])
    return total / trees


@pytest.mark.parametrize("at", [0, 3, 6])
def test_the_expected_path_is_the_mean_of_random_cuts(at):
    row = np.array([0.0, 1.0, 1.5, 4.0, 4.0, 9.0, 20.0])
    expected = simulated(row, row[at])
    score = closed(row[None], row[at : at + 1])[0]
    assert -np.log2(score) * average_path(np.array([7.0]))[0] == pytest.approx(expected, rel=0.04)


def test_a_constant_row_is_ordinary_and_its_step_is_not():
    rows = np.ones((2, N))
    rows[1, -1] = 2.0
    same, step = closed(rows, rows[:, -1])
    assert same == pytest.approx(0.5)
    assert step > 0.75


def test_gaps_count_as_absent_and_too_few_values_have_no_score():
    full = RNG.normal(0, 1, 20)
    rows = np.full((2, N), np.nan)
    rows[0, :20], rows[1, :2] = full, 1.0
    score = closed(rows, np.array([full[3], 1.0]))
    assert score[0] == pytest.approx(closed(full[None], full[3:4])[0])
    assert np.isnan(score[1])


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e9, 1e300])
def test_the_unit_does_not_matter(scale):
    row = RNG.normal(0, 1, N)
    np.testing.assert_allclose(closed(row[None] * scale, row[-1:] * scale), closed(row[None], row[-1:]), rtol=1e-9)
