"""The command line of `anomaly-exporter models`. What it does is in `command`, imported where it is needed."""

from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer(help="List, compare, check, roll back and remove stored models.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")]
Profile = Annotated[
    str | None,
    typer.Option(help="Profile laid over the file: NAME.PROFILE.yml beside it.", envvar="ANOMALY_EXPORTER_PROFILE"),
]
Job = Annotated[str, typer.Option(help="Job; of a sharded one also NAME@0-of-2.")]
Jobs = Annotated[list[str] | None, typer.Option("--job", help="Only this job; may be repeated. Default: all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FILE = Path("anomaly.yml")


@models.command("list")
def list_(config: Config = FILE, profile: Profile = None, job: Jobs = None, json: Json = False) -> None:
    """List the stored models of every job, the newest first, and which is in service."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda shelf: shelf.listed(job)))


@models.command()
def show(
    job: Job,
    model: Annotated[str | None, typer.Option("--version", help="Default: the one in service.")] = None,
    config: Config = FILE,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Show all that is known of one model, and how the job's last training ended."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda shelf: shelf.shown(job, model)))


@models.command()
def diff(
    job: Job,
    one: Annotated[str | None, typer.Argument(help="Version. Default: the one in service.")] = None,
    other: Annotated[str | None, typer.Argument(help="Version. Default: the newest other one.")] = None,
    config: Config = FILE,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Show in what two models differ: training, parameters, figures."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda shelf: shelf.compared(job, one, other)))


@models.command()
def rollback(
    job: Job,
    model: Annotated[str | None, typer.Option("--version", help="Default: the one in service before.")] = None,
    config: Config = FILE,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Put the model in service that was before; exporters take it over at their next cycle."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda shelf: shelf.rolled_back(job, model)))


@models.command()
def verify(config: Config = FILE, profile: Profile = None, job: Jobs = None, json: Json = False) -> None:
    """Read every stored model and check signature, digest and library versions: exit 1 if any is refused."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda shelf: shelf.verified(job)))


@models.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Versions to keep of every job.")] = 5,
    config: Config = FILE,
    profile: Profile = None,
    job: Jobs = None,
    json: Json = False,
) -> None:
    """Remove the oldest models, never the one in service nor the one before it."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda shelf: shelf.pruned(job, keep)))
