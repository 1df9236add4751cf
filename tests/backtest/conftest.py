import gzip

import numpy as np
import pytest


@pytest.fixture
def put(tmp_path):
    """Write a CSV file below data/ from columns and return its path."""

    def write(name, **columns):
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        lines = [",".join(columns)] + [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        opened = gzip.open if name.endswith(".gz") else open
        with opened(path, "wt") as file:
            file.write("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def noise():
    """Return a function that makes values about 10 with spikes of `height` at the given rows."""

    def make(seed, rows, spikes=(), height=50.0):
        values = 10 + np.random.default_rng(seed).normal(size=rows)
        values[list(spikes)] = height
        return values

    return make
