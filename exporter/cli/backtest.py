"""`anomaly-exporter backtest`."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from exporter.cli.common import From, Incidents, Jobs, Json, Profile, Since, To, fail, log_warnings_only, usual_config


def backtest(
    data: Annotated[Path | None, typer.Option(help="CSV file or folder: timestamp, channels, label.")] = None,
    detector: Annotated[
        str | None, typer.Option(help="Detector, as a name or as YAML: '{robust: {deviations: 8}}'.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results, one CSV per entity.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the job, KEY=VALUE; may be repeated.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(help="History before the first cycle: 3d, or labels for the rows that the metrics leave out."),
    ] = None,
    no_hold: Annotated[
        bool, typer.Option("--no-hold", help="Keep learning during incidents; for ranking detectors.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Configuration file with the jobs to evaluate.")] = None,
    profile: Profile = None,
    job: Jobs = None,
    since: Since = None,
    start: From = None,
    end: To = None,
    incidents: Incidents = None,
    alerts: Annotated[
        str | None,
        typer.Option(
            "--labels-from-alerts",
            help="Use the alerts that fired in Prometheus as labels: 'alertname=~\"Node.*\"'.",
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Heed the answers of people in this file as the exporter did: feedback.json of its state."),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Write one plot per entity into the folder of --out.")] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Show the result of other values of false_alarms and least_deviation.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the quality metrics through the running exporter.")
    ] = False,
    shards: Annotated[int, typer.Option(min=1, help="Judge each job in so many parts, as so many replicas would.")] = 1,
    backend: Annotated[
        Literal["loky", "dask", "sequential"] | None,
        typer.Option(help="Judge jobs and parts in processes of this machine, or on a Dask cluster."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://dask:8786; default: train.scheduler.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of loky; default: one per core.")] = None,
    json: Json = False,
) -> None:
    """List what would have been alerted in the past: --config anomaly.yml --since 7d.

    With labelled incidents, files, --tune, --out or --publish: evaluate one job, with its incidents found, missed and
    false, and its alerts per week.
    """
    from exporter.backtest import command
    from exporter.backtest.plot import require_matplotlib
    from exporter.backtest.run_files import backtest_files
    from exporter.backtest.run_prometheus import ReplayTask, backtest_prometheus
    from exporter.config.load import ConfigError
    from exporter.errors import InputError
    from exporter.labelled_incidents import Alert, Incident, read_alerts, read_incidents

    log_warnings_only()
    if data is None and config is None:
        config = usual_config()
    for wrong, message in (
        (
            data is None and config is None,
            "nothing to evaluate: give --config FILE and --since 7d, or --data PATH",
        ),
        (
            data is not None and (since, start, end) != (None, None, None),
            "--from, --to and --since are for samples from Prometheus; omit them or --data",
        ),
        (
            data is None and history is not None,
            "--history is for files; for samples from Prometheus use --set history=3d",
        ),
        (
            config is None and bool(profile or job),
            "--profile and --job choose from a configuration: give it with --config FILE",
        ),
        (
            alerts is not None and (data is not None or incidents is not None),
            "--labels-from-alerts queries the configured Prometheus; omit --data and --incidents",
        ),
        (
            answers is not None and data is not None,
            "--answers are about series of the configured Prometheus; omit --data",
        ),
        (plot and out is None, "--plot writes next to the CSV files: name the folder with --out DIR"),
        (
            publish and config is None,
            "--publish passes the metrics to a running exporter: name its configuration with --config FILE",
        ),
    ):
        if wrong:
            fail(message, code=2)
    listed = not (data or out or incidents or alerts or tune or publish)
    try:
        where = command.place_of(backend, scheduler, workers, shards, config, profile)
        if listed and config is not None:
            code = command.list_incidents(
                config,
                profile,
                job or [],
                settings or [],
                detector,
                since,
                start,
                end,
                hold=not no_hold,
                as_object=json,
                answers=answers,
                where=where,
            )
            raise typer.Exit(code)
        if plot:
            require_matplotlib()
        loaded, chosen = command.chosen(config, profile, job or [], settings or [], detector)
        shared = command.shared_folder(loaded) if publish else None
        known: list[Incident] | list[Alert] | None = None if incidents is None else read_incidents(incidents)
        began = time.perf_counter()
        if data is not None:
            runs = backtest_files(data, chosen, history, not no_hold, plot, where)
        else:
            assert loaded is not None
            period = command.time_range(since, start, end)
            evaluated = chosen.job(None, files=False)
            if alerts is not None:
                known = read_alerts(loaded, alerts, *period, evaluated.step)
            heeded = command.heeded(answers)(chosen.name)
            runs = backtest_prometheus(
                ReplayTask(loaded, chosen.name, evaluated, *period, not no_hold, plot, heeded), where
            )
        command.finish(
            chosen.name,
            runs,
            time.perf_counter() - began,
            known,
            str(incidents or f"--labels-from-alerts {alerts}"),
            out=out,
            plot=plot,
            tune=tune,
            as_object=json,
            shared=shared,
            where=where,
        )
    except (InputError, ConfigError) as error:
        fail(error, code=2)
