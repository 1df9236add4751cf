"""What the detectors with a small neural network promise beyond the conformance of all."""

import subprocess
import sys

import numpy as np
import pytest

from detectors import Batch, make
from detectors.networks.training import train
from detectors.networks.windows import Windows
from tests.support.batches import batch, keys, noise, walk
from tests.support.every_detector import NETWORKS
from tests.support.replay import openings, replay

torch = pytest.importorskip("torch", reason="torch is not installed: see pyproject.toml")
SHORT = {"epochs": 8, "max_windows": 1500}
HOUR = 60


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


def fresh(name, **parameters):
    return make({name: SHORT | parameters}, 60)


def rhythm(entities, samples, seed=0, spread=0.3):
    """Return a daily rhythm with noise, each entity in a phase of its own, shape (E, 1, T)."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(samples) / (24 * HOUR) + rng.uniform(size=(entities, 1)))
    return (100 + 5 * np.sin(angle) + rng.normal(0, spread, (entities, samples)))[:, None]


def weights(detector):
    return {name: array for name, array in detector.state().items() if name.startswith("network.")}


def test_the_same_seed_learns_the_same_and_leaves_the_random_numbers_of_torch_alone(name):
    history = batch(noise(10, 2, 120))
    before = torch.get_rng_state()
    one, other, third = (fresh(name, seed=seed).fit(history) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    for layer, array in weights(one).items():
        np.testing.assert_array_equal(array, weights(other)[layer])
    assert any((array != weights(third)[layer]).any() for layer, array in weights(one).items())


def test_a_score_is_the_same_to_the_last_bit_alone_and_among_hundreds(name):
    detector = fresh(name).fit(batch(noise(20, 1, 200)))
    values = noise(700, 1, 90)
    walk(detector, batch(values[:, :, :40]), 30)
    part = values[:, :, 30:]
    together = detector.score(batch(part))
    for row in (0, 511, 512, 699):
        alone = detector.score(batch(part[row : row + 1], names=keys(700)[row : row + 1]))
        assert alone.score[0] == together.score[row]


def test_too_little_history_is_refused_and_leaves_no_verdict(name):
    detector = fresh(name)
    with pytest.raises(ValueError, match="usable windows in the history, the network needs 30"):
        detector.fit(batch(noise(1, 1, 25)))
    assert np.isnan(walk(detector, batch(noise(1, 1, 25)), 10)[-1].score).all()


def test_another_number_of_channels_is_refused(name):
    detector = fresh(name).fit(batch(noise(10, 2, 120)))
    with pytest.raises(ValueError, match="trained on 2 channels, not 3"):
        detector.score(batch(noise(10, 3, 60)))


def test_the_weights_of_another_network_are_refused(name):
    state = fresh(name).fit(batch(noise(10, 1, 120))).state()
    with pytest.raises(ValueError, match=r"the saved .* has shape"):
        fresh(name, hidden=16).restore(state)
    removed = next(layer for layer in state if layer.startswith("network."))
    del state[removed]
    with pytest.raises(ValueError, match=rf"the saved network has other layers: {removed.removeprefix('network.')}"):
        fresh(name).restore(state)


def test_without_torch_the_mistake_names_what_to_install(name, monkeypatch):
    monkeypatch.setattr("detectors.networks.training.find_spec", lambda package: None)
    with pytest.raises(ValueError, match=r"pip install 'anomaly-exporter\[torch\]'"):
        make(name, 60)


def test_torch_is_not_imported_to_check_a_configuration():
    """It costs seconds at every start."""
    code = (
        "import sys; from detectors import make;"
        f"[make(name, 60) for name in {NETWORKS}]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_judging_uses_one_core_and_training_is_silent_where_there_is_no_terminal(name, capfd):
    torch.set_num_threads(2)
    fresh(name).fit(batch(noise(10, 1, 120)))
    assert torch.get_num_threads() == 1
    assert capfd.readouterr() == ("", "")


def test_the_score_grows_with_the_distance_and_the_band_ends_where_it_is_one(name):
    detector, values = fresh(name).fit(batch(noise(50, 1, 200))), noise(50, 1, 200, seed=3)
    walk(detector, batch(values[:, :, :-1]), 60)
    values[:] = values[0]
    state = detector.state()
    rows = {field: array[:1] for field, array in state.items() if array.ndim and len(array) == 50}
    detector.restore(state | {field: np.repeat(array, 50, axis=0) for field, array in rows.items()})
    values[:, 0, -1] = 100 + np.concatenate([np.linspace(2, 30, 40), np.geomspace(1e2, 1e9, 10)])
    judged = detector.score(batch(values, until=60.0).last(60))
    assert (np.diff(judged.score) > 0).all()
    assert np.isfinite(judged.score).all()
    outside = values[:, 0, -1] > judged.upper[:, 0]
    assert 0 < outside.sum() < 40
    assert (outside != (judged.score > 1)).sum() <= 3  # the band ends at the next bin of the histogram


def test_a_rhythm_is_foretold_better_than_by_its_mean(name):
    history = batch(rhythm(4, 72 * HOUR))
    detector = fresh(name, max_windows=4000, epochs=12).fit(history.last(48 * HOUR))
    judged = walk(detector, history.last(30 * HOUR), 60)[-6 * HOUR :]
    expected = np.array([j.expected[:, 0] for j in judged])
    actual = history.values[:, 0, -6 * HOUR :].T
    off = np.abs(actual - expected).mean()
    assert off < 0.6 * np.abs(actual - 100).mean()


@pytest.mark.parametrize("size", [-4.0, 6.0])
def test_an_incident_is_held_to_its_end_and_clears_soon_after(name, size):
    """Although the network sees no more than the last minutes, and the rhythm goes on meanwhile."""
    values = rhythm(6, 60 * HOUR, seed=2)
    detector = fresh(name).fit(batch(values[:, :, : 36 * HOUR]))
    begin, end = 50 * HOUR, 54 * HOUR
    values[:3, 0, begin:end] += size * 3.5
    score, flag = _judged(detector, batch(values))
    assert (score[:3, begin : begin + 5] > 1).any(axis=1).all()
    assert flag[:3, begin + 5 : end].mean() > 0.95
    assert not flag[:3, end + 10 : end + 4 * HOUR].any()
    assert openings(flag[3:, 24 * HOUR :]).sum() <= 1


def _judged(detector, history):
    """Replay with as many samples as the detector wants to see."""

    class Wide:
        def score(self, part):
            end = int(np.searchsorted(history.times, part.times[-1])) + 1
            first = max(end - detector.window, 0)
            return detector.score(
                Batch(history.keys, history.channels, history.times[first:end], history.values[:, :, first:end])
            )

        def update(self, fresh, frozen, rebaselined):
            detector.update(fresh, frozen, rebaselined)

    return replay(Wide(), history)


def test_only_the_channel_at_fault_is_held(name):
    """What the others do is judged as ever: a second fault in one of them is named on it."""
    values = noise(4, 3, 420, seed=5)
    values[1, 0, 300:] += 30.0
    values[1, 2, 400:] += 60.0
    judged = walk(fresh(name).fit(batch(noise(10, 3, 240))), batch(values), 60)
    assert np.argmax(judged[335].contribution[1]) == 0
    assert judged[335].expected[1, 0] == pytest.approx(100, abs=4)  # not where the incident has taken it
    assert np.argmax(judged[400 - 59].contribution[1]) == 2


def test_an_unlabelled_outage_in_the_training_history_costs_no_more_than_a_tenth_of_the_recall(name):
    clean = rhythm(5, 48 * HOUR)
    broken = clean.copy()
    broken[:2, :, 40 * HOUR : 44 * HOUR] *= 0.2
    tested, jump = rhythm(100, 26 * HOUR, seed=9), np.linspace(0.5, 12, 100)
    found = []
    for history in (clean, broken):
        detector = fresh(name, epochs=12, max_windows=3000).fit(batch(history))
        walk(detector, batch(tested[:, :, :-1]), 60)
        last = tested[:, :, -60:].copy()
        last[:, :, -1] -= jump[:, None]
        found.append((detector.score(batch(last, until=60.0)).score > 1).mean())
    assert 0.2 < found[0] < 0.9
    assert found[1] >= 0.9 * found[0]


def test_training_stops_when_it_no_longer_helps_and_goes_back_to_the_best_weights():
    network = torch.nn.Linear(1, 1)
    seen, passes = np.zeros((200, 1, 4), np.float32), []

    def loss(network, seen, there, source):
        if not torch.is_grad_enabled():  # the windows held back: best after two epochs
            passes.append(network.weight.detach().clone())
            return torch.full((len(seen),), float(abs(len(passes) - 2)))
        return (network.weight[0, 0] - 100.0) ** 2 + 0 * network.bias.sum() + torch.zeros(len(seen))

    windows = Windows(seen, np.ones(seen.shape, np.bool_), np.zeros((200, 1)))
    assert train(network, loss, windows, epochs=50, seed=0) == 160
    assert len(passes) == 5
    assert torch.equal(network.weight, passes[1])
    assert not torch.equal(network.weight, passes[-1])


def test_the_windows_fitting_worst_are_not_learnt_from():
    network = torch.nn.Linear(1, 1)
    seen = np.ones((500, 1, 2), np.float32)
    seen[::20] = -30.0  # one in twenty

    def loss(network, seen, there, source):
        return ((network.weight[0, 0] + network.bias[0] - seen) ** 2).mean(dim=(1, 2))

    train(network, loss, Windows(seen, np.ones(seen.shape, np.bool_), seen[:, :, -1].astype(float)), 200, seed=0)
    assert (network.weight[0, 0] + network.bias[0]).item() == pytest.approx(1.0, abs=0.1)


def test_a_gap_is_filled_with_the_sample_before_it_and_clipped_samples_are_judged_whole():
    values = np.array([[[np.nan, 3.0, np.nan, np.nan, 1e9]]])
    windows = Windows.of(values, np.array([[1.0]]), np.array([[2.0]]), 6)
    np.testing.assert_array_equal(windows.seen[0, 0], [0, 0, 1, 1, 1, 10])
    np.testing.assert_array_equal(windows.there[0, 0], [False, False, True, False, False, True])
    assert windows.newest[0, 0] == (1e9 - 1) / 2
