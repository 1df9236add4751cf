"""What `anomaly-exporter rules` does: write the generated files, or report which are out of date."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from exporter.config.check import secrets
from exporter.config.errors import dotted
from exporter.config.load import load
from exporter.config.secrets import SecretUnavailable
from exporter.config.sections.root import Config
from rules.generate import generate, outdated, write
from rules.render.operator import left_out


def run(
    config: Path,
    folder: Path,
    *,
    check: bool = False,
    profile: str | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Write the files of a configuration into a folder and return 0; with `check`, return 1 if any is out of date.

    Raises
    ------
    ConfigError, FolderError
    """
    out, err = out or sys.stdout, err or sys.stderr
    loaded = load(config, profile, environ)
    made = generate(loaded.config)
    if check:
        changes = outdated(folder, made)
        for name, what in changes.items():
            print(f"{folder / name}: {what}", file=err)
        if changes:
            option = f" --profile {profile}" if profile else ""
            command = f"anomaly-exporter rules --config {config}{option} --out {folder}"
            print(f"{folder} is out of date; update it with: {command}", file=err)
            return 1
        print(f"{folder} is up to date: {len(made)} files", file=out)
        return 0
    changes = write(folder, made)
    print(f"{folder}: {len(made)} files, {len(changes)} of them changed", file=out)
    for note in notes(loaded.config):
        print(f"note: {note}", file=err)
    return 0


def notes(config: Config) -> Iterator[str]:
    """Yield what the generated files cannot do with this configuration."""
    for place, secret in secrets(config.alerting, ("alerting",)):
        try:
            secret.read()
        except SecretUnavailable as error:
            yield f"{dotted(place)}: {error}; Alertmanager will need it"
    yield from left_out(config)
    if not config.alerting.receivers:
        yield "alerting.receivers: there are none, so alertmanager.yml sends nothing to anybody"
