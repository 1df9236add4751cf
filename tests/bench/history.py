"""The series that the benchmarks judge."""

from collections.abc import Iterator, Sequence

import numpy as np

STEP = 60.0


def labels(number: int) -> dict[str, str]:
    """Return the five labels of a series, as a cluster's pods have them."""
    return {
        "cluster": "eu-west-1",
        "namespace": f"ns{number % 50}",
        "pod": pod(number),
        "instance": f"10.{number // 62_500}.{number // 250 % 250}.{number % 250}:9100",
        "job": "bench",
    }


def pod(number: int) -> str:
    return f"checkout-{number:06d}-7f9c6"


def selector(name: str, number: int) -> str:
    """Return a series as it stands in a page."""
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels(number).items()) + "}"


def values(number: int, samples: int) -> np.ndarray:
    """Return noise about a level of its own; one sample in a thousand is ten deviations off."""
    rng = np.random.default_rng(number)
    noise = rng.normal(100 + number % 17, 3, samples)
    return np.round(noise + 30 * (rng.random(samples) < 0.001), 4)


def lines(sizes: dict[str, int], times: Sequence[float]) -> Iterator[str]:
    """Yield OpenMetrics lines: of each metric in `sizes` so many series."""
    stamps = [f"{time:.0f}" for time in times]
    for name, count in sizes.items():
        for number in range(count):
            series = selector(name, number)
            for value, stamp in zip(values(number, len(stamps)).tolist(), stamps, strict=True):
                yield f"{series} {value} {stamp}"
