"""The backtest command as a user runs it."""

import structlog
from click.testing import Result
from typer.testing import CliRunner

from exporter.cli.main import cli


def backtest(*arguments: object) -> Result:
    """Run it in this process; anything but an exit is a failure of the test."""
    try:
        result = CliRunner().invoke(cli, ["backtest", *map(str, arguments)])
    finally:
        structlog.reset_defaults()  # the command has set up logs for itself
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
