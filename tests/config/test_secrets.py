"""Row 53: a secret is never shown, whatever is printed of the configuration."""

import io
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter.config.check import check
from exporter.config.load import ConfigError, load
from exporter.config.secrets import Secret, SecretUnavailable
from exporter.config.sections.root import Config

HOOK = "https://hooks.slack.com/services/hunter2"
FLAT = f"metrics: [up]\nslack_webhook_url: {HOOK}\n"


def test_a_plain_webhook_of_the_flat_file_is_masked_in_every_output(tmp_path: Path) -> None:
    file = tmp_path / "original.yml"
    file.write_text(FLAT)
    loaded = load(file, None, {})
    out, err = io.StringIO(), io.StringIO()
    assert check(file, None, out, err, {}) == 0
    config = loaded.config
    shown = [repr(loaded), str(loaded), repr(config), str(config.notify), config.model_dump_json()]
    shown += [
        str(config.model_dump()),
        str(config.model_dump(mode="json")),
        out.getvalue(),
        err.getvalue(),
        *loaded.notes,
    ]
    assert [text for text in shown if "hunter2" in text] == []


def test_a_mistake_beside_a_secret_shows_neither_secret_nor_a_hidden_cause(tmp_path: Path) -> None:
    file = tmp_path / "original.yml"
    file.write_text(FLAT + "contamination: hunter3\nslack_webhook: hunter2\n")
    environ = {"ANOMALY_EXPORTER__SLACK_WEBHOOK_URL": "[hunter2]", "ANOMALY_EXPORTER__SLACK": "hunter2"}
    with pytest.raises(ConfigError) as caught:
        load(file, None, environ)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter3" in told
    assert "hunter2" not in told


def test_a_secret_does_not_change_the_digest(tmp_path: Path) -> None:
    digests = set()
    for secret in ("hunter2", "hunter3"):
        file = tmp_path / "original.yml"
        file.write_text(FLAT.replace("hunter2", secret))
        digests.add(load(file, None, {}).digest)
    assert len(digests) == 1


def test_a_secret_is_read_anew_at_every_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 10: a rotated token takes effect at the next request."""
    file = tmp_path / "token"
    secret = Secret(file=file)
    for token in ("old", "new"):
        file.write_text(f"{token}\n")
        assert secret.read() == token
        monkeypatch.setenv("TOKEN", token)
        assert Secret(env="TOKEN").read() == token


def test_a_secret_that_cannot_be_read_names_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(SecretUnavailable, match="secret environment variable TOKEN is not set or empty"):
        Secret(env="TOKEN").read()
    with pytest.raises(SecretUnavailable, match="cannot be read: FileNotFoundError"):
        Secret(file=tmp_path / "missing").read()
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(SecretUnavailable, match="cannot be read: UnicodeDecodeError"):
        Secret(file=tmp_path / "binary").read()
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(SecretUnavailable, match="is not set or empty"):
        Secret(file=tmp_path / "empty").read()


def test_not_even_pydantics_own_words_repeat_what_was_written() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(
            {"jobs": {"a": {"expr": "up"}}, "prometheus": {"bearer": "hunter2", "basic_auth": "hunter2"}}
        )
    assert "hunter2" not in str(caught.value)
