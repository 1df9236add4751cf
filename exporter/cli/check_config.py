"""`anomaly-exporter check-config`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import Profile


def check_config(
    file: Annotated[Path, typer.Argument(help="Configuration file.")],
    profile: Profile = None,
) -> None:
    """Check a configuration: exit 0 when it is good, 2 with every mistake when it is not."""
    from exporter.config.check import check

    raise typer.Exit(check(file, profile))
