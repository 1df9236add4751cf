"""`anomaly-exporter check-config`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Profile, fail
from exporter.cli.output import Output, printed


def check_config(
    file: Annotated[Path | None, typer.Argument(help="Configuration file; the same as --config.")] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    against: Annotated[
        str | None,
        typer.Option(help="URL of a running exporter, or a file: list which jobs a reload would start again."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User name for --against; the password is read from ANOMALY_EXPORTER_PASSWORD.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate, if the exporter asks for one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None,
    declared: Annotated[
        Path | None,
        typer.Option(
            help="Manifests in which a team declares jobs: check these instead, with the limits of the configuration "
            "if there is one."
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace of the objects in --declared that name none; default: default.")
    ] = None,
    output: Output = None,
) -> None:
    """Check a configuration: exit 0 when it is good, 2 with every mistake when it is not."""
    from exporter.config.check import as_data, check

    file = config if file is None else file
    if declared is not None:
        _check_declared(declared, namespace, None if file == CONFIG and not file.exists() else file, profile, output)
    if output in {"json", "yaml"}:
        if against is not None:
            fail("--against is for people: leave out --output", code=2)
        found = as_data(file, profile)
        printed(found, output)
        raise typer.Exit(0 if found["good"] else 2)
    if against is None:
        raise typer.Exit(check(file, profile))
    from exporter.cli.against import Against, NotComparable
    from exporter.config.load import ConfigError

    try:
        raise typer.Exit(check(file, profile, running=Against(against, profile, user, cert, key).jobs))
    except ConfigError as error:
        fail(error, code=2)
    except NotComparable as error:
        fail(error, code=1)


def _check_declared(
    file: Path, namespace: str | None, config: Path | None, profile: str | None, output: Output
) -> None:
    from exporter.config.check_declared import as_data, check, found_in
    from exporter.config.load import ConfigError

    try:
        found = found_in(file, namespace, config, profile)
    except ConfigError as error:
        fail(error, code=2)
    if output in {"json", "yaml"}:
        made = as_data(found)
        printed(made, output)
        raise typer.Exit(0 if made["good"] else 2)
    raise typer.Exit(check(found, file))
