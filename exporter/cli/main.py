"""The command line: every command in a module of its own, which imports heavy packages only when it runs."""

from typing import Annotated

import typer

from exporter import __version__
from exporter.cli.accept import accept
from exporter.cli.backtest import backtest
from exporter.cli.check_config import check_config
from exporter.cli.demo import demo
from exporter.cli.deploy import deploy
from exporter.cli.examples import epilog
from exporter.cli.feedback import feedback
from exporter.cli.init import init
from exporter.cli.mcp import mcp
from exporter.cli.models import models
from exporter.cli.no_core_dumps import without_core_dumps
from exporter.cli.output import with_output
from exporter.cli.related import related
from exporter.cli.report import report
from exporter.cli.rules import rules
from exporter.cli.run import run
from exporter.cli.train import train

cli = typer.Typer(
    name="anomaly-exporter",
    help="Detect anomalies in Prometheus series and publish anomaly_score.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@cli.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Detect anomalies in Prometheus series and publish anomaly_score."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


for command in (run, check_config, accept, backtest, train, report, rules, init, deploy, demo, mcp, related):
    name = command.__name__.replace("_", "-")
    known_as_json = "json" in command.__annotations__
    cli.command(name, epilog=epilog(name))(with_output(command) if known_as_json else command)
for title, group in (("models", models), ("feedback", feedback)):
    for each in group.registered_commands:
        assert each.callback is not None
        each.name = each.name or each.callback.__name__
        each.epilog = epilog(f"{title} {each.name}")
        if "json" in each.callback.__annotations__:
            each.callback = with_output(each.callback)
    cli.add_typer(group, name=title)


def main() -> None:
    """Entry point of the console command."""
    without_core_dumps()
    cli()
