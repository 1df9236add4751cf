"""The flags that several commands share, and how a command ends with an error."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from exporter.cli.feedback_client import Exporter

Config = Annotated[Path, typer.Option(help="Configuration file.", envvar="ANOMALY_EXPORTER_CONFIG")]
CONFIG: Final = Path("anomaly.yml")
"""Default of `--config`."""
Profile = Annotated[
    str | None,
    typer.Option(
        help="Profile to apply: NAME.PROFILE.yml next to the file overrides it.", envvar="ANOMALY_EXPORTER_PROFILE"
    ),
]
Jobs = Annotated[list[str] | None, typer.Option("--job", help="Only this job; may be repeated. Default: all.")]
Json = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
Since = Annotated[str | None, typer.Option(help="Start of the time range, as a duration before its end: 7d.")]
From = Annotated[str | None, typer.Option("--from", help="Start of the time range, ISO 8601 or Unix seconds.")]
To = Annotated[str | None, typer.Option("--to", help="End of the time range; default: now.")]
Url = Annotated[str | None, typer.Option(help="URL of the exporter, if it runs on another machine.")]
User = Annotated[str | None, typer.Option(help="User name; the password is read from ANOMALY_EXPORTER_PASSWORD.")]
Cert = Annotated[Path | None, typer.Option(help="Client certificate, if the exporter asks for one.")]
Key = Annotated[Path | None, typer.Option(help="Key of the client certificate.")]
Incidents = Annotated[Path | None, typer.Option(help="Labelled incidents: a YAML list of {start, end, labels}.")]


def usual_config() -> Path | None:
    """Return the configuration that the other commands would read, None where there is none."""
    named = os.environ.get("ANOMALY_EXPORTER_CONFIG")
    return Path(named) if named else CONFIG if CONFIG.exists() else None


def fail(error: Exception | str, code: int) -> NoReturn:
    """Print an error and end the command with an exit code."""
    sys.stderr.write(str(error).rstrip("\n") + "\n")
    raise typer.Exit(code)


@contextmanager
def asking_the_exporter() -> Iterator[None]:
    """End the command where the configuration is wrong (2), or the running exporter does not do what is asked (1)."""
    from exporter.cli.accept_client import NotAccepted
    from exporter.config.load import ConfigError

    try:
        yield
    except ConfigError as error:
        fail(error, code=2)
    except NotAccepted as error:
        fail(error, code=1)


Where = tuple[Path, str | None, str | None, str | None, Path | None, Path | None]
"""Configuration, profile, URL, user, certificate and key: which exporter is asked, and as whom."""


def print_answer(where: Where, ask: Callable[["Exporter"], str]) -> None:
    """Print what `ask` returns of the running exporter."""
    from exporter.cli.feedback_client import Exporter
    from exporter.config.load import load

    config, profile, *connection = where
    with asking_the_exporter():
        typer.echo(ask(Exporter(load(config, profile).config.web, *connection)), nl=False)  # type: ignore[arg-type]


def log_warnings_only() -> None:
    """Log warnings and errors as text: standard output belongs to the results of the command."""
    from exporter.config.sections.service import LogConfig
    from exporter.observe.logs import configure

    configure(LogConfig(format="console", level="warning"))
