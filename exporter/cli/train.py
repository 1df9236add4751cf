"""`anomaly-exporter train`."""

from typing import Annotated, Literal

import typer

from exporter.cli.common import CONFIG, Config, From, Incidents, Jobs, Profile, Since, To, fail, log_warnings_only


def train(
    config: Config = CONFIG,
    profile: Profile = None,
    job: Jobs = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Number of shards, instead of train.shards.")] = None,
    backend: Annotated[
        Literal["loky", "dask", "sequential"] | None, typer.Option(help="Instead of train.backend.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, such as tcp://dask:8786.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of loky; default: one per core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train jobs that are not due too.")] = False,
    stage: Annotated[
        Literal["all", "fit", "gate", "promote", "report"], typer.Option(help="All stages, or one.")
    ] = "all",
    model: Annotated[
        str | None, typer.Option("--version", help="Version for gate or promote; default: the newest pending one.")
    ] = None,
    incidents: Incidents = None,
    pushgateway: Annotated[str | None, typer.Option(help="URL of a Pushgateway to send the result to.")] = None,
    since: Since = None,
    start: From = None,
    end: To = None,
    json: Annotated[
        bool | None, typer.Option("--json", help="Print JSON lines; the default where there is no terminal.")
    ] = None,
) -> None:
    """Train the models that are due and activate those that pass the gate.

    Exit 0 also if the gate rejects one: the old model stays, and output and metrics say so. Exit 1 if one fails.
    """
    from exporter.config.load import ConfigError, load
    from exporter.train import command

    log_warnings_only()
    try:
        loaded = load(config, profile).config
        if loaded.models is None:
            fail(f"{config}: nowhere to keep models; add models: {{path: …}}", code=2)
        for name in job or ():
            if name not in loaded.jobs:
                fail(f"--job {name}: {config} has no such job, only {', '.join(loaded.jobs)}", code=2)
        changes = {"shards": shards, "backend": backend, "scheduler": scheduler, "incidents": incidents}
        settings = command.settings(loaded, changes, pushgateway)
        period = command.time_range(settings, since, start, end)
        plan = command.plan(settings, job or list(settings.jobs), stage, period, version=model, force=force)
        code = command.run(settings, plan, stage, workers=workers, as_json=json)
    except (ConfigError, command.UsageError) as error:
        fail(error, code=2)
    raise typer.Exit(code)
