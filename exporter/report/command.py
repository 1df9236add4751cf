"""The report command: from options to a file, and to a digest on standard output."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.atomic_files import write_atomically
from exporter.config.load import load
from exporter.config.sections.service import LogConfig
from exporter.config.values import moment
from exporter.observe.logs import configure
from exporter.redact import masked
from exporter.report.charts import require_matplotlib
from exporter.report.collect import gather
from exporter.report.data import Period, ReportError
from exporter.report.html_page import page
from exporter.report.text import digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line; `until` is still text."""

    config: Path
    profile: str | None = None
    period: str = "week"
    jobs: Sequence[str] = ()
    out: Path | None = None
    text: bool = False
    until: str | None = None


def run(options: Options) -> None:
    """Write the report. Raises ReportError, ConfigError; a file that was there before is then left as it was."""
    configure(LogConfig(format="console", level="warning"))
    if options.out is None and not options.text:
        raise ReportError("nothing to do: give --out FILE.html for the page, --text for a digest, or both")
    try:
        end = time.time() if options.until is None else moment(options.until)
    except ValueError as error:
        raise ReportError(f"--to: {error}") from None
    if end > time.time() + 60:
        raise ReportError("--to lies in the future: a report is about what was")
    period = Period.until(options.period, end)
    config = load(options.config, options.profile).config
    if unknown := [name for name in options.jobs if name not in config.jobs]:
        raise ReportError(f"--job {unknown[0]}: no such job in {options.config}; it has: {', '.join(config.jobs)}")
    if options.out is not None:
        require_matplotlib()
        _check_place(options.out)
    report = gather(config, list(dict.fromkeys(options.jobs)) or list(config.jobs), period, options.out is not None)
    if options.out is not None:
        try:
            write_atomically(options.out, masked(page(report)).encode("utf-8", "replace"))
        except OSError as error:
            raise ReportError(f"--out {options.out}: {error.strerror}; nothing was written") from None
    if options.text:
        sys.stdout.write(masked(digest(report)))
    else:
        sys.stderr.write(f"written: {options.out}\n")


def _check_place(out: Path) -> None:
    """Refuse what cannot be written before half a minute is spent on it."""
    if out.is_dir():
        raise ReportError(f"--out {out} is a folder; name a file in it")
    if not out.parent.is_dir():
        raise ReportError(f"--out {out}: there is no folder {out.parent}")
