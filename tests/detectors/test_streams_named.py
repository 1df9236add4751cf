"""`auto` names what a person would name: the strongest stream of incidents of each kind, at their worst sample."""

from functools import cache

import numpy as np
import pytest

from detectors import Batch, make
from detectors.streams import STREAMS, strongest
from detectors.types import Flags, Floats
from detectors.units import DAY

STEP, DAYS, MINUTES = 60.0, 4, 60
BEGIN = DAYS * 1440
TIMES = 1_699_920_000.0 + STEP * np.arange(BEGIN + MINUTES)
VALUE, THREE, TEN, THIRTY, VOLATILITY, PAIR, SECOND, CORRELATION = STREAMS[:8]
Told = tuple[float, str, float]
"""Score, and name and size of the strongest stream."""


def one_channel(rng: np.random.Generator) -> dict[str, Floats]:
    """Return series (T,) of a service by the kind of the incident that they end with."""
    count, fault = len(TIMES), slice(BEGIN, None)

    def usual(rhythm: float = 0.3) -> Floats:
        return 100 * (1 + rhythm * np.sin(2 * np.pi * TIMES / DAY)) + 5 * rng.standard_normal(count)

    made = {kind: usual() for kind in ("halved", "times four", "zero", "drift")}
    made |= {kind: usual(0.0) for kind in ("swinging", "stuck")}
    made["halved"][fault] *= 0.5
    made["times four"][fault] *= 4
    made["zero"][fault] = 0
    made["drift"][fault] -= np.linspace(0, 90, MINUTES)
    made["swinging"][fault] += 14 * (-1.0) ** np.arange(MINUTES)
    made["stuck"][fault] = 100.0
    wandering = np.abs((np.cumsum(rng.standard_normal(count)) + 37) % 200 - 100)
    wandering[fault] = (10 if wandering[BEGIN] > 50 else 90) + np.cumsum(rng.standard_normal(MINUTES))
    made["jump"] = wandering
    return made


def several_channels(rng: np.random.Generator) -> dict[str, Floats]:
    """Return series of three channels, shape (3, T)."""
    common = rng.standard_normal(len(TIMES))
    fault, made = slice(BEGIN, None), {}
    for kind in ("two at once", "apart"):
        own = 0.3 if kind == "apart" else 3.0
        made[kind] = 100 + 5 * (common + own * rng.standard_normal((3, len(TIMES))))
    made["two at once"][:2, fault] *= 3
    made["apart"][2, fault] -= 2 * (made["apart"][2, fault] - 100)  # it moves against the others, within its range
    return made


@cache
def told(several: bool, seed: int) -> dict[str, list[Told]]:
    """Return what was told of the samples of the incident, by kind."""
    series = (several_channels if several else one_channel)(np.random.default_rng(seed))
    values = np.stack([each.reshape(-1, len(TIMES)) for each in series.values()])
    names, channels = tuple((("kind", kind),) for kind in series), tuple("abc"[: values.shape[1]])
    detector, found = make("auto", 60), {kind: [] for kind in series}
    nobody: Flags = np.zeros(len(names), np.bool_)
    for end in range(2, len(TIMES) + 1):
        batch = Batch(names, channels, TIMES[end - 2 : end], values[:, :, end - 2 : end])
        judged = detector.score(batch)
        flag = (judged.score > 1) & (end > BEGIN)
        streams = judged.streams
        if streams is not None:
            most = strongest(streams.size, streams.period)
            for at, row in enumerate(streams.rows.tolist()):
                if end > BEGIN:
                    size = float(streams.size[at, most[at]])
                    found[names[row][0][1]].append((float(judged.score[row]), streams.names[most[at]], size))
        detector.update(batch.last(1), flag, nobody)
    return found


@pytest.mark.parametrize(
    ("kind", "names", "side"),
    [
        ("halved", {THREE, TEN, THIRTY}, -1),
        ("times four", {THREE, TEN, THIRTY}, 1),
        ("zero", {THREE, TEN, THIRTY}, -1),
        ("drift", {TEN, THIRTY}, -1),
        ("swinging", {VOLATILITY, PAIR}, 0),
        ("stuck", {VOLATILITY}, -1),
    ],
)
def test_the_worst_sample_of_an_incident_names_its_kind(kind: str, names: set[str], side: int) -> None:
    _, name, size = max(told(False, seed=5)[kind])
    assert name in names
    assert side in (0, np.sign(size))


def test_a_level_that_may_be_and_was_never_reached_in_one_step_is_a_pair_never_seen() -> None:
    _, name, _ = told(False, seed=5)["jump"][0]
    assert name == PAIR


@pytest.mark.parametrize(("kind", "names"), [("two at once", {SECOND, CORRELATION}), ("apart", {CORRELATION})])
def test_what_several_channels_show_together_is_named(kind: str, names: set[str]) -> None:
    _, name, size = max(told(True, seed=5)[kind])
    assert name in names
    assert size > 0
