"""`anomaly-exporter init`: a commented configuration, ready to run, from presets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from exporter.atomic_files import write_atomically
from exporter.config.section_base import SourceUrl
from exporter.config.sections.alerting import unknown

PRESETS: Final = {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.yml"))}
"""The preset files by name; each is a complete configuration with comments and `jobs`."""
_JOBS: Final = "jobs:\n"
_HEAD: Final = """\
# Written by anomaly-exporter init {options}; yours to edit.
# Every key is in docs/configuration.md; anomaly-exporter check-config finds mistakes.
prometheus:
  url: {url}
  # bearer: {{file: /run/secrets/prometheus-token}}

# Keeps what was learned and the open incidents over a restart:
# state: {{path: /var/lib/anomaly-exporter/state}}

# Writes every change of a flag to a CSV file:
# audit: {{path: anomalies.csv}}

# Sends notifications without Alertmanager; with Alertmanager see docs/alerts.md:
# notify: {{slack: {{file: /run/secrets/slack-webhook}}}}

# A new job publishes scores after its window of an hour. With history: 14d it first reads two weeks and learns the
# daily pattern.
"""


class InitError(Exception):
    """No configuration was written; the message says why and what to do."""


def compose(presets: Sequence[str], url: str) -> str:
    """Return the configuration with the jobs of the presets in the given order, for the Prometheus at `url`.

    Raises InitError if no preset is given or one is unknown, or if the address is invalid.
    """
    if not presets:
        raise InitError(f"--preset is missing; there are: {', '.join(PRESETS)}")
    for name in presets:
        if name not in PRESETS:
            raise InitError(f"--preset: {unknown('preset', name, PRESETS)}")
    try:
        address = TypeAdapter(SourceUrl).validate_python(url)
    except ValidationError as error:
        raise InitError(f"--prometheus-url: {error.errors()[0]['ctx']['error']}") from None
    chosen = tuple(dict.fromkeys(presets))
    options = " ".join(f"--preset {name}" for name in chosen)
    jobs = "\n".join(_section(PRESETS[name].read_text("utf-8")) for name in chosen)
    return _HEAD.format(options=options, url=json.dumps(address)) + _JOBS + jobs


def _section(preset: str) -> str:
    """Return the jobs of a preset unchanged, below the introduction of the file."""
    introduction, _, jobs = preset.partition(_JOBS)
    return "".join(f"  {line}\n" for line in introduction.splitlines()) + "\n" + jobs


def write(presets: Sequence[str], file: Path, url: str, *, force: bool = False) -> None:
    """Write the configuration of `compose` into a file; replace an existing one only with `force`. Raises InitError."""
    text = compose(presets, url).encode()
    if file.exists() and not force:
        raise InitError(f"{file} already exists; --force overwrites it, --out names another file")
    try:
        write_atomically(file, text)
    except OSError as error:
        raise InitError(f"{file} cannot be written: {error.strerror}; --out names another file") from None
