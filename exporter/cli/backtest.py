"""`anomaly-exporter backtest`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import From, Incidents, Json, Profile, Since, To, fail, log_warnings_only


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
    config: Annotated[Path | None, typer.Option(help="Configuration file with the job to evaluate.")] = None,
    profile: Profile = None,
    job: Annotated[str | None, typer.Option(help="Job of the configuration.")] = None,
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
    plot: Annotated[bool, typer.Option("--plot", help="Write one plot per entity into the folder of --out.")] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Show the result of other values of false_alarms and least_deviation.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the quality metrics through the running exporter.")
    ] = False,
    json: Json = False,
) -> None:
    """Evaluate the past as the exporter would have: incidents found, missed and false, and alerts per week."""
    from exporter.backtest import command
    from exporter.backtest.run_files import backtest_files
    from exporter.backtest.run_prometheus import backtest_prometheus
    from exporter.config.load import ConfigError
    from exporter.errors import InputError
    from exporter.labelled_incidents import Alert, Incident, read_alerts, read_incidents

    log_warnings_only()
    if data is None and config is None:
        fail("nothing to evaluate: give --data FILE|DIR, or --config FILE with --since 7d or --from", code=2)
    if data is not None and (since, start, end) != (None, None, None):
        fail("--from, --to and --since are for samples from Prometheus; omit them or --data", code=2)
    if data is None and history is not None:
        fail("--history is for files; for samples from Prometheus use --set history=3d", code=2)
    if config is None and (profile or job):
        fail("--profile and --job choose from a configuration: give it with --config FILE", code=2)
    if alerts is not None and (data is not None or incidents is not None):
        fail("--labels-from-alerts queries the configured Prometheus; omit --data and --incidents", code=2)
    if plot and out is None:
        fail("--plot writes next to the CSV files: name the folder with --out DIR", code=2)
    if publish and config is None:
        fail("--publish passes the metrics to a running exporter: name its configuration with --config FILE", code=2)
    try:
        loaded, chosen = command.chosen(config, profile, job, settings or [], detector)
        shared = command.shared_folder(loaded) if publish else None
        known: list[Incident] | list[Alert] | None = None if incidents is None else read_incidents(incidents)
        began = time.perf_counter()
        if data is not None:
            runs = backtest_files(data, chosen, history, not no_hold, plot)
        else:
            assert loaded is not None
            period = command.time_range(since, start, end)
            evaluated = chosen.job(None, files=False)
            if alerts is not None:
                known = read_alerts(loaded, alerts, *period, evaluated.step)
            runs = [backtest_prometheus(loaded, chosen.name, evaluated, *period, not no_hold, plot)]
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
        )
    except (InputError, ConfigError) as error:
        fail(error, code=2)
