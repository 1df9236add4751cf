"""Silences that Alertmanager has and we cannot use."""

import pytest

from exporter.config.sections.train import Endpoint
from exporter.train.errors import TrainError
from exporter.train.exclusions import read_silences
from tests.support.stub import Reply, serve

SILENCE = (
    b'[{"startsAt":"2026-01-05T10:00:00Z","endsAt":"2026-01-05T11:00:00Z",'
    b'"matchers":[{"name":"i","value":"%s","isRegex":true,"isEqual":true}]}]'
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (SILENCE % b"(?s-i:a)(", "the pattern '(?s-i:a)(' is not understood here"),
        (b'[{"x":' + b"[" * 5000, "is nested too deeply"),
        (b"<html>", "sent something else than Alertmanager's silences"),
    ],
)
def test_a_silence_that_is_not_understood_is_named_in_one_clear_error(body: bytes, said: str) -> None:
    """Row 16: found by fuzzing; each of them ended the training with Python's own error."""
    with serve(Reply(body)) as stub, pytest.raises(TrainError) as caught:
        read_silences(Endpoint(url=stub.url), "cpu")
    assert said in str(caught.value)
    assert "look at train.alertmanager" in str(caught.value)
