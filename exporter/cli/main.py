"""The command line."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from exporter import __version__
from exporter.cli.models import models

cli = typer.Typer(
    name="anomaly-exporter",
    help="Judge Prometheus series with anomaly detectors and republish anomaly_score.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

cli.add_typer(models, name="models")

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
    from exporter.config.load import ConfigError
    from exporter.observe.stages import TelemetryError
    from exporter.pipeline.shard import Shard
    from exporter.service.app import App  # numpy and more: only where they are needed, so that --help is quick
    from exporter.sinks.audit import AuditError
    from exporter.web.server import ServerError

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
    against: Annotated[
        str | None,
        typer.Option(help="Address of a running exporter, or a file: say what a reload would cost its jobs."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User of --against; the password is in ANOMALY_EXPORTER_PASSWORD.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Our certificate, where the exporter wants one.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
) -> None:
    """Check a configuration: exit 0 when it is good, 2 with every mistake when it is not."""
    from exporter.config.check import check

    if against is None:
        raise typer.Exit(check(file, profile))
    from exporter.cli.against import Against, NotComparable
    from exporter.config.load import ConfigError

    try:
        raise typer.Exit(check(file, profile, running=Against(against, profile, user, cert, key).jobs))
    except ConfigError as error:
        _fail(str(error), code=2)
    except NotComparable as error:
        _fail(str(error), code=1)


@cli.command()
def accept(
    job: Annotated[str, typer.Option(help="Job whose open incidents are normal now.")],
    entity: Annotated[
        list[str] | None, typer.Option(help="Labels of one of them, 'instance=\"a\"'; may be repeated. Default: all.")
    ] = None,
    config: Annotated[
        Path, typer.Option(help="Configuration of the exporter.", envvar="ANOMALY_EXPORTER_CONFIG")
    ] = Path("anomaly.yml"),
    profile: Profile = None,
    url: Annotated[str | None, typer.Option(help="Address of the exporter, if it runs elsewhere.")] = None,
    user: Annotated[str | None, typer.Option(help="User; the password is in ANOMALY_EXPORTER_PASSWORD.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Our certificate, where the exporter wants one.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
) -> None:
    """Tell the running exporter that the level of open incidents is normal now: they close at its next cycle."""
    from exporter.cli.accept import NotAccepted, Request
    from exporter.cli.accept import accept as accept_open
    from exporter.config.load import ConfigError

    try:
        typer.echo(accept_open(config, profile, Request(job, entity or (), url, user, cert, key)), nl=False)
    except ConfigError as error:
        _fail(str(error), code=2)
    except NotAccepted as error:
        _fail(str(error), code=1)


@cli.command()
def backtest(
    data: Annotated[Path | None, typer.Option(help="CSV file or folder: timestamp, channels, label.")] = None,
    detector: Annotated[
        str | None, typer.Option(help="Detector, as a name or as YAML: '{robust: {deviations: 8}}'.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for one CSV of verdicts per entity.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the job, KEY=VALUE; may be repeated.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(help="What the exporter finds at its start: 3d, or labels for the rows not counted.")
    ] = None,
    no_hold: Annotated[
        bool, typer.Option("--no-hold", help="Learn open incidents too; for ranking detectors.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Configuration file whose job to judge.")] = None,
    profile: Profile = None,
    job: Annotated[str | None, typer.Option(help="Job of the configuration.")] = None,
    since: Annotated[str | None, typer.Option(help="Judge the configured source from this long ago: 7d.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Judge from this time, ISO 8601 or Unix seconds.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Judge up to this time; default: now.")] = None,
    incidents: Annotated[Path | None, typer.Option(help="YAML list of {start, end, labels} to judge against.")] = None,
    alerts: Annotated[
        str | None,
        typer.Option(
            "--labels-from-alerts", help="Judge against what was firing in Prometheus: 'alertname=~\"Node.*\"'."
        ),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw a picture per entity into the folder of --out.")] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Say what other lines and least deviations would have cost and found.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Let the running exporter show the figures as metrics.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Judge the past as the exporter would have, and count what it would have found and cost."""
    from exporter.backtest.command import Options
    from exporter.backtest.command import run as run_backtest
    from exporter.backtest.read_csv import BacktestError
    from exporter.config.load import ConfigError

    try:
        run_backtest(
            Options(
                data=data,
                detector=detector,
                out=out,
                settings=settings or [],
                history=history,
                hold=not no_hold,
                config=config,
                profile=profile,
                job=job,
                since=since,
                start=start,
                end=end,
                incidents=incidents,
                alerts=alerts,
                plot=plot,
                tune=tune,
                publish=publish,
                json=json,
            )
        )
    except (BacktestError, ConfigError) as error:
        _fail(str(error), code=2)


@cli.command()
def train(
    config: Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")] = Path(
        "anomaly.yml"
    ),
    profile: Profile = None,
    job: Annotated[list[str] | None, typer.Option(help="Only this job; may be repeated. Default: all.")] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Replicas, instead of train.shards.")] = None,
    backend: Annotated[
        Literal["loky", "dask", "sequential"] | None, typer.Option(help="Instead of train.backend.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, such as tcp://dask:8786.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of loky; default: one a core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train whether it is due or not.")] = False,
    stage: Annotated[
        Literal["all", "fit", "gate", "promote", "report"], typer.Option(help="All of it, or one stage.")
    ] = "all",
    model: Annotated[
        str | None, typer.Option("--version", help="Version for gate or promote; default: the newest that waits.")
    ] = None,
    incidents: Annotated[Path | None, typer.Option(help="YAML list of {start, end, labels} that are known.")] = None,
    pushgateway: Annotated[str | None, typer.Option(help="Pushgateway that gets the outcome.")] = None,
    since: Annotated[str | None, typer.Option(help="Train on this long, instead of train.window: 7d.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Train from this time, ISO 8601 or Unix seconds.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Train up to this time; default: now.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines on a terminal too.")] = False,
) -> None:
    """Train the models that are due; put in service what is no worse than what is. Exit 3 when one is rejected."""
    from exporter.config.load import ConfigError
    from exporter.train.command import Options, UsageError
    from exporter.train.command import run as run_train

    try:
        code = run_train(
            Options(
                config=config,
                profile=profile,
                jobs=job or (),
                shards=shards,
                backend=backend,
                scheduler=scheduler,
                workers=workers,
                force=force,
                stage=stage,
                version=model,
                incidents=incidents,
                pushgateway=pushgateway,
                since=since,
                start=start,
                end=end,
                json=json,
            )
        )
    except (ConfigError, UsageError) as error:
        _fail(str(error), code=2)
    raise typer.Exit(code)


@cli.command()
def report(
    period: Annotated[str, typer.Option(help="week or month.")] = "week",
    job: Annotated[list[str] | None, typer.Option(help="Only this job; may be repeated. Default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print a short digest for a mail or a chat.")] = False,
    until: Annotated[
        str | None, typer.Option("--to", help="End of the period, ISO 8601 or Unix seconds; default: now.")
    ] = None,
    config: Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")] = Path(
        "anomaly.yml"
    ),
    profile: Profile = None,
) -> None:
    """Write what was found in a week or a month, from Prometheus' history and the audit file, as one HTML page."""
    from exporter.config.load import ConfigError
    from exporter.report.command import Options
    from exporter.report.command import run as run_report
    from exporter.report.data import NoHistory, ReportError

    try:
        run_report(
            Options(config=config, profile=profile, period=period, jobs=job or [], out=out, text=text, until=until)
        )
    except ConfigError as error:
        _fail(str(error), code=2)
    except NoHistory as error:
        _fail(str(error), code=3)
    except ReportError as error:
        _fail(str(error), code=1)


@cli.command()
def rules(
    config: Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")] = Path(
        "anomaly.yml"
    ),
    out: Annotated[Path, typer.Option(help="Folder for the generated files.")] = Path("generated"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when the folder is out of date.")
    ] = False,
    profile: Profile = None,
) -> None:
    """Write alert rules with their tests, PrometheusRule objects, alertmanager.yml, dashboards and a runbook."""
    from exporter.config.load import ConfigError
    from rules.command import FolderError
    from rules.command import run as run_rules

    try:
        raise typer.Exit(run_rules(config, out, check=check, profile=profile))
    except (ConfigError, FolderError) as error:
        _fail(str(error), code=2)


@cli.command()
def init(
    preset: Annotated[
        list[str] | None, typer.Option(help="node, kubernetes, http or self (Prometheus itself); may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("anomaly.yml"),
    prometheus_url: Annotated[str, typer.Option(help="Address of your Prometheus.")] = "http://localhost:9090",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented configuration to begin with: jobs for node_exporter, Kubernetes, HTTP services, Prometheus."""
    from rules.init import InitError
    from rules.init import init as write_configuration

    try:
        write_configuration(preset or (), out, prometheus_url, force=force)
    except InitError as error:
        _fail(str(error), code=2)
    typer.echo(f"{out} is ready: anomaly-exporter run --config {out}")


@cli.command()
def deploy(
    config: Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")] = Path(
        "anomaly.yml"
    ),
    profile: Profile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects as YAML; needs no cluster.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what --apply would change; exit 3 if anything.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Create and update the objects.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; volume claims and namespace stay.")] = False,
    rbac: Annotated[bool, typer.Option("--rbac", help="Print the least rights that --apply needs.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Print the values of the Helm chart instead.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the objects. Default: anomaly-exporter.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace. Default: anomaly-exporter.")] = None,
    image: Annotated[str | None, typer.Option(help="Container image.")] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", "--replicas", min=1, max=1000, help="Replicas that share the entities.")
    ] = None,
    secret: Annotated[str | None, typer.Option(help="Secret that is there already, instead of one of ours.")] = None,
    secret_folder: Annotated[
        Path | None, typer.Option(help="Folder with the values of ours, in files named as its keys.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="When models are trained, as cron writes it.")] = None,
    storage_class: Annotated[str | None, typer.Option(help="Storage class. Default: the cluster's.")] = None,
    scrape_namespace: Annotated[
        str | None, typer.Option(help="Namespace of Prometheus, which alone may connect. Default: all may.")
    ] = None,
    scrape_secret: Annotated[
        str | None, typer.Option(help="Secret with username and password for Prometheus, where web.users asks.")
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator/--no-operator", help="Make ServiceMonitor and PrometheusRule.")
    ] = True,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig. Default: the current one.")] = None,
) -> None:
    """Run exporter and training on Kubernetes: print, compare, apply or delete the objects."""
    from deploy.kubernetes.command import DeployError, Mode, Options
    from deploy.kubernetes.command import run as run_deploy
    from exporter.config.load import ConfigError

    wanted: dict[Mode, bool] = {"dry-run": dry_run, "diff": diff, "apply": apply, "delete": delete, "rbac": rbac}
    wanted |= {"values": values}
    modes = [mode for mode, chosen in wanted.items() if chosen]
    if len(modes) != 1:
        raise typer.BadParameter("give exactly one of --dry-run, --diff, --apply, --delete, --rbac and --values")
    choices = {
        "name": name,
        "namespace": namespace,
        "image": image,
        "shards": shards,
        "secret": secret,
        "schedule": schedule,
        "storage_class": storage_class,
        "scrape_namespace": scrape_namespace,
        "scrape_secret": scrape_secret,
        "operator": operator,
    }
    try:
        code = run_deploy(Options(config, modes[0], profile, context, secret_folder, choices))
    except ConfigError as error:
        _fail(str(error), code=2)
    except DeployError as error:
        _fail(str(error), code=1)
    raise typer.Exit(code)


@cli.command()
def demo(
    for_: Annotated[
        str | None, typer.Option("--for", help="End by itself after this long, for example 2m; exit 0 if all was seen.")
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Recorded series instead of real servers.")] = False,
) -> None:
    """Show the whole way from a fault to the message, on real servers on this machine."""
    from deploy.demo.main import run as run_demo
    from exporter.config.values import duration

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
