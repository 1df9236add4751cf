"""`anomaly-exporter report`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Jobs, Profile, fail, log_warnings_only


def report(
    period: Annotated[
        str, typer.Option(help="day, week, month or a length such as 3d; yesterday, or a date: 2026-11-27 (UTC).")
    ] = "week",
    job: Jobs = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print a short summary for mail or chat.")] = False,
    to: Annotated[str | None, typer.Option(help="End of the period, ISO 8601 or Unix seconds; default: now.")] = None,
    config: Config = CONFIG,
    profile: Profile = None,
) -> None:
    """Write the anomalies of a day, week or month, from Prometheus and the audit file, as one HTML page."""
    from exporter.config.load import ConfigError, load
    from exporter.report.command import period_of, write
    from exporter.report.data import NoHistory, ReportError

    log_warnings_only()
    if out is None and not text:
        fail("nothing to do: give --out FILE.html for the page, --text for a summary, or both", code=1)
    try:
        covered = period_of(period, to)
        loaded = load(config, profile).config
        if unknown := [name for name in job or () if name not in loaded.jobs]:
            fail(f"--job {unknown[0]}: no such job in {config}; it has: {', '.join(loaded.jobs)}", code=1)
        write(loaded, job or loaded.jobs, covered, out, text=text)
    except ConfigError as error:
        fail(error, code=2)
    except NoHistory as error:
        fail(error, code=3)
    except ReportError as error:
        fail(error, code=1)
