"""What `anomaly-exporter backtest` does before and after the evaluation: settings, time range, results."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from exporter.backtest.entity_result import EntityResult, Run, write
from exporter.backtest.output import as_json, as_table, as_trials
from exporter.backtest.overview import NOTHING, overview
from exporter.backtest.overview_output import as_json as as_json_list
from exporter.backtest.overview_output import as_tables, gaps
from exporter.backtest.plot import MOST
from exporter.backtest.plot import plot as draw
from exporter.backtest.quality import Figures, figures, overall
from exporter.backtest.quality_metrics import FIGURES, place, publish
from exporter.backtest.settings import DEFAULT_NAME, Settings, configured
from exporter.backtest.tune import Trial, advice, trials
from exporter.config.load import load
from exporter.config.sections.root import Config
from exporter.config.values import duration, moment
from exporter.errors import InputError
from exporter.labelled_incidents import Alert, Incident, label_of
from exporter.observe.progress import Bar
from exporter.parallel.spread import HERE, Backend, Where
from exporter.parallel.task import SpreadError
from exporter.pipeline.expectation import JobFeedback
from exporter.sinks.feedback import FILE, UnusableFeedback, of_jobs, read_feedback

_WIDTH_OF_A_LIST: Final = 120
_WIDTH_OF_FIGURES: Final = 160


def chosen(
    path: Path | None, profile: str | None, jobs: Sequence[str], changes: Sequence[str], detector: str | None
) -> tuple[Config | None, Settings]:
    """Return the configuration, if there is one, and the settings of the one job. Raises InputError, ConfigError."""
    if path is None:
        return None, Settings(DEFAULT_NAME, None, changes, detector)
    config, names = configured(path, profile, jobs)
    if len(names) > 1:
        raise InputError(
            f"{path} has several jobs, and this evaluates one; choose it with --job: {', '.join(names)}. Without"
            " files, labels, --out, --tune and --publish the incidents of all jobs are listed"
        )
    return config, Settings(names[0], config.jobs[names[0]], changes, detector)


def place_of(
    backend: Backend | None,
    scheduler: str | None,
    workers: int | None,
    shards: int,
    path: Path | None,
    profile: str | None,
) -> Where:
    """Return where the flags --backend, --scheduler, --workers and --shards let tasks run.

    Without --backend they run one after the other in this process. --scheduler may be that of the configuration. Raises
    InputError, ConfigError.
    """
    if backend is None:
        for flag, value in (("--scheduler", scheduler), ("--workers", workers)):
            if value is not None:
                wanted = "dask" if scheduler else "loky"
                raise InputError(f"{flag} is for jobs and parts that are spread out: add --backend {wanted}")
    if backend == "dask" and scheduler is None:
        scheduler = None if path is None else load(path, profile).config.train.scheduler
        if scheduler is None:
            raise InputError(
                "--backend dask needs the address of a scheduler: --scheduler tcp://HOST:8786, or train: {scheduler: …}"
            )
    return Where(backend or "sequential", scheduler, workers, shards)


def list_incidents(
    path: Path,
    profile: str | None,
    jobs: Sequence[str],
    changes: Sequence[str],
    detector: str | None,
    since: str | None,
    start: str | None,
    end: str | None,
    *,
    hold: bool,
    as_object: bool,
    answers: Path | None = None,
    where: Where = HERE,
) -> int:
    """List what all jobs, or those named, would have found; return the exit code. Raises InputError, ConfigError.

    Parameters
    ----------
    path, profile
        The configuration.
    jobs, changes, detector
        The flags --job, --set and --detector; the last two hold for every job.
    since, start, end
        The flags --since, --from and --to.
    hold, as_object : bool
        Do not learn open incidents; print JSON.
    answers : Path or None
        The flag --answers.
    where : Where
        Where jobs, or parts of them, are judged.
    """
    config, names = configured(path, profile, jobs)
    period = time_range(since, start, end)
    settings = {name: Settings(name, config.jobs[name], changes, detector).job(None, files=False) for name in names}
    found = overview(config, settings, *period, hold, heeded(answers), where=where)
    if as_object:
        sys.stdout.write(as_json_list(found) + "\n")
    elif found.code != NOTHING:
        as_tables(found, _console(_WIDTH_OF_A_LIST))
    sys.stderr.writelines(f"{line}\n" for line in gaps(found))
    return found.code


def heeded(answers: Path | None) -> Callable[[str], JobFeedback]:
    """Return what each job heeds of the answers in a file. Raises InputError, also where there is no such file."""
    try:
        if answers is not None and not answers.exists():
            raise InputError(f"--answers {answers}: there is no such file; the state folder has one, {FILE}")
        return of_jobs([] if answers is None else read_feedback(answers))
    except UnusableFeedback as error:
        raise InputError(f"--answers {error}") from None


def time_range(since: str | None, start: str | None, end: str | None) -> tuple[float, float]:
    """Return start and end in Unix seconds of the flags --since, --from and --to. Raises InputError."""
    try:
        last = time.time() if end is None else moment(end)
        if start is not None and since is None:
            return moment(start), last
        if since is not None and start is None:
            return last - duration(since), last
    except ValueError as error:
        raise InputError(f"--from, --to, --since: {error}") from None
    raise InputError("give either --since or --from for the start of the backtest")


def shared_folder(config: Config | None) -> Path:
    """Return the folder from which the running exporter reads published metrics. Raises InputError without one."""
    folder = None if config is None else place(config)
    if folder is None:
        raise InputError(
            "--publish: the configuration has no folder that the running exporter reads; set models: {path: …} or "
            "state: {path: …}, on a volume that both can access"
        )
    return folder


def finish(
    name: str,
    runs: Sequence[Run],
    seconds: float,
    known: Sequence[Incident] | Sequence[Alert] | None,
    origin: str,
    *,
    out: Path | None,
    plot: bool,
    tune: bool,
    as_object: bool,
    shared: Path | None,
    where: Where = HERE,
) -> None:
    """Write the results of a backtest to standard output and files. Raises InputError.

    Parameters
    ----------
    name : str
        Name of the job.
    runs : sequence of Run
        Results of its parts.
    seconds : float
        Duration of the evaluation.
    known, origin : sequence of Incident or Alert, str
        Labelled incidents that replace the labels of the data, and where they come from, for warnings.
    out, plot : Path, bool
        Folder for the CSV files, and whether to write plots into it.
    tune, as_object : bool
        Try other settings; print JSON.
    shared : Path or None
        Folder to publish the quality metrics in.
    where : Where
        Where other settings are tried.
    """
    outcomes = sorted((outcome for each in runs for outcome in each.results), key=lambda found: found.name)
    if known is not None:
        _label(outcomes, known, origin)
    every = [figures(outcome) for outcome in outcomes]
    total = overall(name, every, sum(len(outcome.times) for outcome in outcomes) / seconds)
    if out is not None:
        write(outcomes, out)
        if plot:
            _plot(outcomes, every, out)
    try:
        tried = trials(name, runs, total, where) if tune else []
    except SpreadError as error:
        raise InputError(f"--tune: {error}") from None
    _print(every, total, tried, sum(each.config.budget for each in runs), as_object)
    if shared is not None:
        _publish(shared, total, outcomes)
    silent = [outcome.name for outcome in outcomes if not np.isfinite(outcome.score).any()]
    if silent:
        names = ", ".join(silent[:3]) + ", …" * (len(silent) > 3)
        _warn(
            f"no score at all for {len(silent)} of {len(outcomes)} entities ({names}): the detector needs more "
            "samples; give it history with --history labels or 3d, or set a shorter window"
        )


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
        draw([outcomes[at] for at in sorted(most)], folder, bar.add)
    if len(most) < len(outcomes):
        _warn(f"--plot: plots of the {len(most)} entities with most incidents; there are {len(outcomes)} in all")


def _publish(folder: Path, total: Figures, outcomes: list[EntityResult]) -> None:
    start = min(float(outcome.times.min()) for outcome in outcomes)
    end = max(float(outcome.times.max()) for outcome in outcomes)
    values = {name: float(getattr(total, name)) for name in FIGURES}
    try:
        file = publish(folder, total.name, start, end, values)
    except OSError as error:
        raise InputError(f"--publish {folder}: {error.strerror}; the exporter keeps the previous metrics") from None
    sys.stderr.write(f"published: {file}\n")


def _print(every: list[Figures], total: Figures, tried: list[Trial], budget: float, as_object: bool) -> None:
    hint = advice(tried, budget) if tried else ""
    if as_object:
        sys.stdout.write(as_json(every, total, tried, hint) + "\n")
        return
    console = _console(_WIDTH_OF_FIGURES)
    as_table(every, total, console)
    if tried:
        as_trials(tried, hint, console)


def _console(width: int) -> Console:
    """Return the terminal, or what is as wide as `width` where there is none: a file has no width."""
    console = Console()
    return console if console.is_terminal else Console(width=width)


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")
