"""The backtest command: from options to outcomes, figures and files."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from exporter.backtest.entity_result import EntityResult, write
from exporter.backtest.output import as_json, as_table, as_trials
from exporter.backtest.plot import MOST, plot
from exporter.backtest.quality import Figures, figures, overall
from exporter.backtest.quality_metrics import FIGURES, place, publish
from exporter.backtest.run_files import backtest_files
from exporter.backtest.run_prometheus import backtest_prometheus
from exporter.backtest.settings import DEFAULT_NAME, Settings, configured
from exporter.backtest.tune import Trial, advice, trials
from exporter.config.sections.root import Config
from exporter.config.sections.service import LogConfig
from exporter.config.values import duration, moment
from exporter.errors import InputError
from exporter.labelled_incidents import Alert, Incident, label_of, read_alerts, read_incidents
from exporter.observe.logs import configure
from exporter.observe.progress import Bar


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
    alerts: str | None = None
    hold: bool = True
    out: Path | None = None
    plot: bool = False
    tune: bool = False
    publish: bool = False
    json: bool = False


def run(options: Options) -> None:
    """Run a backtest and write what it found. Raises InputError, ConfigError."""
    configure(LogConfig(format="console", level="warning"))
    _refuse_mixture(options)
    config, name, base = None, options.job or DEFAULT_NAME, None
    if options.config is not None:
        config, name = configured(options.config, options.profile, options.job)
        base = config.jobs[name]
    settings = Settings(name, base, options.settings, options.detector)
    shared = _shared(config) if options.publish else None
    known: list[Incident] | list[Alert] | None = (
        None if options.incidents is None else read_incidents(options.incidents)
    )
    began = time.perf_counter()
    if options.data is not None:
        runs = backtest_files(options.data, settings, options.history, options.hold, options.plot)
    else:
        assert config is not None
        start, end = _range(options)
        job = settings.job(None, files=False)
        if options.alerts is not None:
            known = read_alerts(config, options.alerts, start, end, job.step)
        runs = [backtest_prometheus(config, name, job, start, end, options.hold, options.plot)]
    seconds = time.perf_counter() - began
    outcomes = sorted((outcome for each in runs for outcome in each.results), key=lambda found: found.name)
    if known is not None:
        _label(outcomes, known, str(options.incidents or f"--labels-from-alerts {options.alerts}"))
    every = [figures(outcome) for outcome in outcomes]
    total = overall(name, every, sum(len(outcome.times) for outcome in outcomes) / seconds)
    if options.out is not None:
        write(outcomes, options.out)
        if options.plot:
            _plot(outcomes, every, options.out)
    tried = trials(name, runs, total) if options.tune else []
    _print(every, total, tried, sum(each.config.budget for each in runs), options.json)
    if shared is not None:
        _publish(shared, total, outcomes)
    silent = [outcome.name for outcome in outcomes if not np.isfinite(outcome.score).any()]
    if silent:
        names = ", ".join(silent[:3]) + ", …" * (len(silent) > 3)
        _warn(
            f"no verdict at all for {len(silent)} of {len(outcomes)} entities ({names}): the detector needs more "
            "samples; give it a start with --history labels or 3d, or set a shorter window"
        )


def _refuse_mixture(options: Options) -> None:
    ranges = [name for name in ("start", "end", "since") if getattr(options, name) is not None]
    if options.data is None and options.config is None:
        raise InputError("nothing to judge: give --data FILE|DIR, or --config FILE with --since 7d or --from")
    if options.data is not None and ranges:
        raise InputError("--from, --to and --since are for samples from Prometheus; leave them or --data out")
    if options.data is None and options.history is not None:
        raise InputError("--history is for files; for samples from Prometheus use --set history=3d")
    if options.config is None and (options.profile or options.job):
        raise InputError("--profile and --job choose from a configuration: give it with --config FILE")
    if options.alerts is not None and (options.data is not None or options.incidents is not None):
        raise InputError("--labels-from-alerts asks the configured Prometheus; leave --data and --incidents out")
    if options.plot and options.out is None:
        raise InputError("--plot writes its pictures beside the CSV: say where with --out DIR")
    if options.publish and options.config is None:
        raise InputError("--publish hands the figures to a running exporter: name its file with --config FILE")


def _range(options: Options) -> tuple[float, float]:
    try:
        end = time.time() if options.end is None else moment(options.end)
        if (options.since is None) == (options.start is None):
            raise InputError("give either --since or --from, to say where the backtest begins")
        start = end - duration(options.since) if options.start is None else moment(options.start)
    except ValueError as error:
        raise InputError(f"--from, --to, --since: {error}") from None
    return start, end


def _label(outcomes: list[EntityResult], known: Sequence[Incident] | Sequence[Alert], origin: str) -> None:
    used = np.zeros(len(known), np.bool_)
    for outcome in outcomes:
        outcome.label, covered = label_of(outcome.key, outcome.times, known)
        used |= covered
    if not used.all():
        unused = ", ".join(str(number) for number in np.flatnonzero(~used)[:10])
        _warn(f"{origin}: {int((~used).sum())} of {len(used)} incidents cover no sample and are not counted: {unused}")


def _plot(outcomes: list[EntityResult], every: list[Figures], folder: Path) -> None:
    most = sorted(range(len(outcomes)), key=lambda at: -every[at].openings)[:MOST]
    with Bar(len(most), "drawing") as bar:
        plot([outcomes[at] for at in sorted(most)], folder, bar.add)
    if len(most) < len(outcomes):
        _warn(
            f"--plot: pictures of the {len(most)} entities with most incidents; {len(outcomes)} are too many to look at"
        )


def _shared(config: Config | None) -> Path:
    folder = None if config is None else place(config)
    if folder is None:
        raise InputError(
            "--publish: the configuration has no folder that the running exporter reads; give it models: {path: …} or "
            "state: {path: …}, on a volume that both can see"
        )
    return folder


def _publish(folder: Path, total: Figures, outcomes: list[EntityResult]) -> None:
    start = min(float(outcome.times.min()) for outcome in outcomes)
    end = max(float(outcome.times.max()) for outcome in outcomes)
    values = {name: float(getattr(total, name)) for name in FIGURES}
    try:
        file = publish(folder, total.name, start, end, values)
    except OSError as error:
        raise InputError(f"--publish {folder}: {error.strerror}; the exporter shows the figures before") from None
    sys.stderr.write(f"published: {file}\n")


def _print(every: list[Figures], total: Figures, tried: list[Trial], budget: float, as_object: bool) -> None:
    hint = advice(tried, budget) if tried else ""
    if as_object:
        sys.stdout.write(as_json(every, total, tried, hint) + "\n")
        return
    # Wide enough for the table where the output is a file or pipe, which has no width of its own.
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    as_table(every, total, console)
    if tried:
        as_trials(tried, hint, console)


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")
