"""The backtest command: from options to outcomes, figures and files."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from exporter.backtest.data import BacktestError, moment
from exporter.backtest.figures import Figures, figures, overall
from exporter.backtest.files import backtest_files
from exporter.backtest.incidents import label_of, read_incidents
from exporter.backtest.outcome import Outcome, write
from exporter.backtest.prometheus import backtest_prometheus
from exporter.backtest.report import as_json, as_table
from exporter.backtest.settings import DEFAULT_NAME, Settings, configured
from exporter.config.models import LogConfig
from exporter.config.units import duration
from exporter.logs import configure


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line. `data` or `config` is given; times and settings are still text."""

    data: Path | None = None
    config: Path | None = None
    profile: str | None = None
    job: str | None = None
    detector: str | None = None
    settings: list[str] = field(default_factory=list)
    history: str | None = None
    start: str | None = None
    end: str | None = None
    since: str | None = None
    incidents: Path | None = None
    hold: bool = True
    out: Path | None = None
    json: bool = False


def run(options: Options) -> None:
    """Run a backtest and write what it found. Raises BacktestError, ConfigError."""
    configure(LogConfig(format="console", level="warning"))
    _refuse_mixture(options)
    began = time.perf_counter()
    name, outcomes = _outcomes(options)
    seconds = time.perf_counter() - began
    if options.incidents is not None:
        _label(outcomes, options.incidents)
    if options.out is not None:
        write(outcomes, options.out)
    every = [figures(outcome) for outcome in outcomes]
    total = overall(name, every, sum(len(outcome.times) for outcome in outcomes) / seconds)
    _print(every, total, options.json)
    silent = [outcome.name for outcome in outcomes if not np.isfinite(outcome.score).any()]
    if silent:
        names = ", ".join(silent[:3]) + ", …" * (len(silent) > 3)
        _warn(
            f"no verdict at all for {len(silent)} of {len(outcomes)} entities ({names}): the detector needs more "
            "samples; give it a start with --history labels or 3d, or set a shorter window"
        )


def _outcomes(options: Options) -> tuple[str, list[Outcome]]:
    config, name, base = None, options.job or DEFAULT_NAME, None
    if options.config is not None:
        config, name = configured(options.config, options.profile, options.job)
        base = config.jobs[name]
    settings = Settings(name, base, options.settings, options.detector)
    if options.data is not None:
        return name, backtest_files(options.data, settings, options.history, options.hold)
    assert config is not None
    start, end = _range(options)
    job = settings.job(None, files=False)
    return name, backtest_prometheus(config, name, job, start, end, options.hold)


def _refuse_mixture(options: Options) -> None:
    ranges = [name for name in ("start", "end", "since") if getattr(options, name) is not None]
    if options.data is None and options.config is None:
        raise BacktestError("nothing to judge: give --data FILE|DIR, or --config FILE with --since 7d or --from")
    if options.data is not None and ranges:
        raise BacktestError("--from, --to and --since are for samples from Prometheus; leave them or --data out")
    if options.data is None and options.history is not None:
        raise BacktestError("--history is for files; for samples from Prometheus use --set history=3d")
    if options.config is None and (options.profile or options.job):
        raise BacktestError("--profile and --job choose from a configuration: give it with --config FILE")


def _range(options: Options) -> tuple[float, float]:
    try:
        end = time.time() if options.end is None else moment(options.end)
        if (options.since is None) == (options.start is None):
            raise BacktestError("give either --since or --from, to say where the backtest begins")
        start = end - duration(options.since) if options.start is None else moment(options.start)
    except ValueError as error:
        raise BacktestError(f"--from, --to, --since: {error}") from None
    return start, end


def _label(outcomes: list[Outcome], path: Path) -> None:
    incidents = read_incidents(path)
    used = np.zeros(len(incidents), np.bool_)
    for outcome in outcomes:
        outcome.label, covered = label_of(outcome.key, outcome.times, incidents)
        used |= covered
    if not used.all():
        unused = ", ".join(str(number) for number in np.flatnonzero(~used)[:10])
        _warn(f"{path}: {int((~used).sum())} of {len(used)} incidents cover no sample and are not counted: {unused}")


def _print(every: list[Figures], total: Figures, as_object: bool) -> None:
    if as_object:
        sys.stdout.write(as_json(every, total) + "\n")
    else:
        # Wide enough for the table where the output is a file or pipe, which has no width of its own.
        console = Console()
        as_table(every, total, console if console.is_terminal else Console(width=160))


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")
