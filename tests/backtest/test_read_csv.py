"""Reading CSV files: what is taken, and one clear error for what is not."""

import re

import numpy as np
import pytest

from exporter.backtest.read_csv import read_file, read_folder
from exporter.config.values import moment
from exporter.errors import InputError


def test_a_file_becomes_channels_times_and_labels(put):
    path = put(
        "a.b.csv.gz",
        timestamp=["2020-01-01T00:00:00Z", "2020-01-01 00:01:00", "2020-01-01T01:02:00+01:00"],
        p99=["1.5", "", "inf"],
        rps=["-0.0", "nan", "1e308"],
        label=["", "0", "1"],
    )
    series = read_file(path)
    assert series.name == "a.b"
    assert series.channels == ("p99", "rps")
    assert series.times.tolist() == [1577836800.0, 1577836860.0, 1577836920.0]
    np.testing.assert_array_equal(series.values, [[1.5, np.nan, np.nan], [-0.0, np.nan, 1e308]])
    np.testing.assert_array_equal(series.label, [np.nan, 0, 1])
    assert series.stamps[1] == "2020-01-01 00:01:00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'timestamp' in the first line; found nothing"),
        ("time,value\n1,2\n", "no column 'timestamp' in the first line; found 'time', 'value'"),
        ("timestamp,label\n1,0\n", "no channel, only timestamp and label; one column of values is needed"),
        ("timestamp,a,a\n1,2,3\n", "the column 'a' is there twice"),
        ("timestamp,a\n", "no rows after the first line"),
        ("timestamp,a\n1,2\n3\n", ":3: 1 cells where the first line has 2"),
        ("timestamp,a\n1,2\n2,high\n", ":3: column 'a': 'high' is not a number, or nothing where there is no sample"),
        ("timestamp,a\nnoon,2\n", ":2: column 'timestamp': 'noon' is not a time: ISO 8601, or Unix seconds"),
        ("timestamp,a\n1577836800000,2\n", "column 'timestamp': '1577836800000' is not a time"),
        ("timestamp,a\n,2\n", "column 'timestamp': '' is not a time"),
        ("timestamp,a,label\n1,2,yes\n", ":2: column 'label': 'yes' is not a number"),
        ("timestamp,a,label\n1,2,0\n2,2,2\n", ":3: column 'label': '2' is not 1 inside an event, 0 outside"),
    ],
)
def test_bad_content_is_one_error_that_names_file_and_column(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"timestamp,\xff\n1,2\n", "not UTF-8 text"),
        ("a.csv.gz", b"timestamp,a\n1,2\n", "no whole gzip file"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00", "no whole gzip file"),
    ],
)
def test_a_broken_file_is_one_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_file(tmp_path / name)


def test_a_folder_without_data_and_an_entity_with_two_files_are_refused(put, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.csv or \.csv\.gz file here"):
        read_folder(tmp_path / "empty")
    with pytest.raises(InputError, match="No such file"):
        read_folder(tmp_path / "none.csv")
    put("a.csv", timestamp=[1], v=[1])
    path = put("a.csv.gz", timestamp=[1], v=[1])
    with pytest.raises(InputError, match="second file of the entity 'a'"):
        read_folder(path.parent)


def test_a_time_without_zone_is_utc():
    assert moment("1970-01-02") == moment("86400") == moment("1970-01-02T01:00:00+01:00") == 86400.0
