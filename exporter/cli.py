"""The command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from exporter import __version__

cli = typer.Typer(
    name="anomaly-exporter",
    help="Judge Prometheus series with anomaly detectors and republish anomaly_score.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Profile = Annotated[
    str | None,
    typer.Option(help="Profile laid over the file: NAME.PROFILE.yml beside it.", envvar="ANOMALY_EXPORTER_PROFILE"),
]


@cli.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Judge Prometheus series with anomaly detectors and republish anomaly_score."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


@cli.command()
def run(
    config: Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")] = Path(
        "anomaly.yml"
    ),
    profile: Profile = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT to serve on instead of web.listen.")] = None,
    shard: Annotated[
        str,
        typer.Option(
            help="Judge one of N shares: 0/N, 1/N and so on; auto/N in a StatefulSet.", envvar="ANOMALY_EXPORTER_SHARD"
        ),
    ] = "0/1",
) -> None:
    """Run the exporter until SIGTERM or Ctrl-C. SIGHUP loads the configuration again."""
    from exporter.app import App  # numpy and more: only where they are needed, so that --help is quick
    from exporter.audit import AuditError
    from exporter.config.load import ConfigError
    from exporter.server import ServerError
    from exporter.shard import Shard
    from exporter.telemetry import TelemetryError

    try:
        share = Shard.parse(shard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from None
    try:
        App(config, profile, listen, share).run()
    except ConfigError as error:
        _fail(str(error), code=2)
    except (AuditError, ServerError, TelemetryError) as error:
        _fail(str(error), code=1)


@cli.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(help="Configuration file.")],
    profile: Profile = None,
) -> None:
    """Check a configuration: exit 0 when it is good, 2 with every mistake when it is not."""
    from exporter.config.check import check

    raise typer.Exit(check(file, profile))


@cli.command()
def demo(
    for_: Annotated[
        str | None, typer.Option("--for", help="End by itself after this long, for example 2m; exit 0 if all was seen.")
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Recorded series instead of real servers.")] = False,
) -> None:
    """Show the whole way from a fault to the message, on real servers on this machine."""
    from deploy.demo.main import run as run_demo
    from exporter.config.units import duration

    try:
        seconds = None if for_ is None else duration(for_)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    raise typer.Exit(run_demo(seconds, replay=replay))


def _fail(message: str, code: int) -> None:
    sys.stderr.write(message.rstrip("\n") + "\n")
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the console command."""
    cli()
