"""`anomaly-exporter init`: a commented configuration, ready to run, from presets."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from exporter.atomic_files import write_atomically
from exporter.config.section_base import SourceUrl
from exporter.config.sections.alerting import unknown
from exporter.config.sections.root import BUDGET

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

# Alerts that all jobs together may send by chance; each of the {jobs} jobs below gets an equal part, or has a budget of
# its own:
budget: {budget:g} per week

# Keys of a job, for all jobs that do not set them. A new job first learns from what Prometheus has of the last two
# weeks; the log of "history" says how far that reached, and history: 3d sets a length:
# defaults: {{history: 14d, lag: 30s}}
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
    count = len(re.findall(r"^  [^\s#].*:", jobs, re.MULTILINE))
    return _HEAD.format(options=options, url=json.dumps(address), jobs=count, budget=BUDGET) + _JOBS + jobs


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
