"""`anomaly-exporter rules`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Profile, fail


def rules(
    config: Config = CONFIG,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("generated"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if the folder is out of date.")] = False,
    profile: Profile = None,
) -> None:
    """Write alert rules with their tests, PrometheusRule objects, alertmanager.yml, dashboards and a runbook."""
    from exporter.config.load import ConfigError
    from rules.command import run
    from rules.generate import FolderError

    try:
        raise typer.Exit(run(config, out, check=check, profile=profile))
    except (ConfigError, FolderError) as error:
        fail(error, code=2)
