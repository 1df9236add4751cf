"""`anomaly-exporter models` and its commands. What they do is in `models_command`, imported where it is needed."""

from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Jobs, Json, Profile

models = typer.Typer(help="List, compare, verify, roll back and remove stored models.", no_args_is_help=True)

Job = Annotated[str, typer.Option(help="Job; for one shard of a job NAME@0-of-2.")]


@models.command("list")
def list_(config: Config = CONFIG, profile: Profile = None, job: Jobs = None, json: Json = False) -> None:
    """List the stored models of every job, newest first, and which is active."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda store: store.listed(job)))


@models.command()
def show(
    job: Job,
    model: Annotated[str | None, typer.Option("--version", help="Default: the active model.")] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Show everything known about one model, and how the last training of the job ended."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda store: store.shown(job, model)))


@models.command()
def diff(
    job: Job,
    one: Annotated[str | None, typer.Argument(help="Version. Default: the active model.")] = None,
    other: Annotated[str | None, typer.Argument(help="Version. Default: the newest other one.")] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Show how two models differ: training, parameters, quality metrics."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda store: store.compared(job, one, other)))


@models.command()
def rollback(
    job: Job,
    model: Annotated[str | None, typer.Option("--version", help="Default: the previously active model.")] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Make the previous model active again; exporters load it at their next cycle."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda store: store.rolled_back(job, model)))


@models.command()
def verify(config: Config = CONFIG, profile: Profile = None, job: Jobs = None, json: Json = False) -> None:
    """Read every stored model and check signature, digest and library versions: exit 1 if any is rejected."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda store: store.verified(job)))


@models.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Versions to keep of every job.")] = 5,
    config: Config = CONFIG,
    profile: Profile = None,
    job: Jobs = None,
    json: Json = False,
) -> None:
    """Remove the oldest models, but never the active one or the one before it."""
    from exporter.cli.models_command import run

    raise typer.Exit(run(config, profile, json, lambda store: store.pruned(job, keep)))
