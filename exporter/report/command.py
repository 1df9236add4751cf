"""What `anomaly-exporter report` does: write the page into a file, and the summary to standard output."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from exporter.atomic_files import write_atomically
from exporter.config.sections.root import Config
from exporter.config.values import moment
from exporter.redact import masked
from exporter.report.charts import require_matplotlib
from exporter.report.collect import gather
from exporter.report.data import Period, ReportError
from exporter.report.html_page import page
from exporter.report.text import digest


def period_of(name: str, end: str | None) -> Period:
    """Return the period that a name means: a day of the calendar, or a length that ends at `end`.

    Parameters
    ----------
    name : str
        `day`, `week`, `month` or a length such as 3d; `yesterday` or a date, which are days in UTC.
    end : str or None
        ISO 8601 or Unix seconds; None: now.

    Raises
    ------
    ReportError
    """
    now = time.time()
    day = Period.on(name, now)
    if day is not None:
        if end is not None:
            raise ReportError(f"--period {name} has an end of its own; omit --to")
        return day
    try:
        last = now if end is None else moment(end)
    except ValueError as error:
        raise ReportError(f"--to: {error}") from None
    if last > now + 60:
        raise ReportError("--to is in the future: a report covers the past")
    return Period.until(name, last)


def write(config: Config, jobs: Iterable[str], period: Period, out: Path | None, *, text: bool) -> None:
    """Write the report of jobs as a page into `out`, as a summary to standard output, or both.

    Raises
    ------
    ReportError
        Nothing was written; a file that was there before is unchanged.
    """
    if out is not None:
        require_matplotlib()
        _check_place(out)
    report = gather(config, list(dict.fromkeys(jobs)), period, out is not None)
    if out is not None:
        try:
            write_atomically(out, masked(page(report)).encode("utf-8", "replace"))
        except OSError as error:
            raise ReportError(f"--out {out}: {error.strerror}; nothing was written") from None
    if text:
        sys.stdout.write(masked(digest(report)))
    else:
        sys.stderr.write(f"written: {out}\n")


def _check_place(out: Path) -> None:
    """Raise ReportError if `out` cannot be written: collecting the report takes half a minute."""
    if out.is_dir():
        raise ReportError(f"--out {out} is a folder; name a file in it")
    if not out.parent.is_dir():
        raise ReportError(f"--out {out}: there is no folder {out.parent}")
