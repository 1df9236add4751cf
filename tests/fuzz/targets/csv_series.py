"""CSV files of labelled series, plain and compressed."""

import atexit
import gzip
import tempfile
from pathlib import Path

import numpy as np

from exporter.backtest.read_csv import read_file
from exporter.errors import InputError

OURS = (InputError,)
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-csv")
atexit.register(_FOLDER.cleanup)
_TEXT = b"timestamp,value,label\n2026-01-05T10:00:00Z,1.5,0\n1767607560,,1\n2026-01-05 10:02:00+01:00,nan,\n"
SEEDS = (
    _TEXT,
    b"\xef\xbb\xbf" + _TEXT.replace(b"\n", b"\r\n"),
    b'timestamp,"a ""b""",c\n1,2,3\n2,1e400,-0\n',
    gzip.compress(_TEXT, mtime=0),
    b"timestamp,a\n0001-01-01T00:00:00+23:59,1\n",
    b'timestamp,a\n1,"2\n',
)


def read(data: bytes) -> None:
    path = Path(_FOLDER.name) / ("a.csv.gz" if data[:2] == b"\x1f\x8b" else "a.csv")
    path.write_bytes(data)
    series = read_file(path)
    assert series.values.shape == (len(series.channels), len(series.times))
    assert np.isfinite(series.times).all()
