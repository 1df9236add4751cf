"""What the pages may know of the running exporter: handed in by the service, which stands above this room."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from detectors.types import Key
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.context.deploy_book import Standing
from exporter.context.deploys import Deploy
from exporter.observe.health import Health
from exporter.pipeline.reaches import Cone
from exporter.query_units import Unit
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.incident_log import IncidentLog
from exporter.sinks.joint_log import JointLog
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.notify.sent_log import SentLog
from exporter.sinks.recent import RecentVerdicts
from exporter.source.samples import NOTHING, RangeResult
from exporter.web.ui.bench import Bench, Off
from exporter.web.ui.job_answers import StoredModel
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.query_budget import QueryBudget

Read = Callable[[str, float, float, float], RangeResult]
"""Asks the source for an expression from, to and every so many Unix seconds. Raises SourceError."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A running job.

    Parameters
    ----------
    config : JobConfig
    health : Health
    model_version : str
        "" where the detector has no fitted model.
    stages : mapping of str to float
        Seconds that each stage of a cycle took last.
    """

    config: JobConfig
    health: Health
    model_version: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, Unit]:
        """What to write after a number, by channel."""
        return self.config.units

    @property
    def queries(self) -> dict[str, str]:
        """PromQL by channel, as the source is asked if that is known already."""
        return dict(self.health.queries) or self.config.queries


@dataclass(frozen=True, slots=True)
class Discovered:
    """How it stands with the jobs that teams declare.

    Parameters
    ----------
    refused : sequence of (str, str)
        What is not, in words, and why.
    lost : mapping of str to float
        Why Kubernetes does not tell what is declared now, and since when (Unix seconds).
    trouble : str
        Why what is declared now does not come into force, "" where it does.
    """

    refused: Sequence[tuple[str, str]] = ()
    lost: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The exporter as a whole.

    Parameters
    ----------
    config : Config
        What is in force.
    digest : str
        Of the configuration files.
    jobs : mapping of str to JobFacts
        In the order of the configuration.
    started : float
        Unix seconds.
    loaded : float
        Unix seconds of the last load of the configuration that worked.
    refused : str
        Why the last load was refused, "" where it worked.
    deploys : Standing
        How the questions about deploys stand.
    discovered : Discovered
        What teams declare.
    """

    config: Config
    digest: str
    jobs: Mapping[str, JobFacts]
    started: float
    loaded: float
    refused: str = ""
    deploys: Standing = field(default_factory=Standing)
    discovered: Discovered = field(default_factory=Discovered)

    def time_zone(self, job: str) -> str:
        """Return where hours are counted for a job; UTC for one that is not there any more."""
        return self.jobs[job].config.time_zone if job in self.jobs else "UTC"


@dataclass(frozen=True, slots=True)
class JobDetails:
    """What is known of a job besides its verdicts.

    Parameters
    ----------
    models : sequence of StoredModel
    trouble : str
        Why the store does not tell them, "" where it does.
    quality : mapping of str to float or None
        Figures of the backtest that was published last, as of `quality_at` (Unix seconds, NaN without one).
    samples : float
        Read from the source since the start.
    stages : mapping of str to float
        Seconds spent in the stages of its cycles since the start.
    """

    models: Sequence[StoredModel] = ()
    trouble: str = ""
    quality: Mapping[str, float | None] = field(default_factory=dict)
    quality_at: float = math.nan
    samples: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


def no_deploys(_job: str, _key: Key, _start: float, _end: float) -> Sequence[Deploy]:
    """Return that nothing was deployed."""
    return ()


def no_answer(_expr: str, _start: float, _end: float, _step: float, _most: int) -> RangeResult:
    """Return that the source has nothing."""
    return NOTHING


def no_cone(_job: str, _key: Key, _now: float) -> Cone | None:
    """Return that no series has a limit."""
    return None


def no_details(_job: str) -> JobDetails:
    """Return that nothing is known."""
    return JobDetails()


def no_models(_job: str, _version: str, _seen: str, _who: str) -> None:
    """Refuse to choose a model: there is none."""
    raise NotAnswered(404, "There is no model store here (models).")


@dataclass(frozen=True, slots=True)
class Running:
    """Where the pages look.

    Parameters
    ----------
    facts : callable returning Facts
        Never waits.
    feed : LatestVerdicts
    recent : RecentVerdicts
    incidents : IncidentLog
    read : Read
        Waits for the source, within a deadline of its own.
    sent : SentLog
    bench : Bench or None
        Runs replays; None where the workbench is off.
    details : callable taking the name of a job
        May wait for the model store.
    activate : callable taking the name of a job, a version of its model, the one that was active then, and who chose
        Makes the version the active one; may wait for the model store. Raises NotAnswered.
    deploys : callable taking a job, a key, and from when to when (Unix seconds)
        Returns the deploys of the owner of a series, oldest first; never waits.
    joint : JointLog
        Tells which incidents are one.
    read_many : callable like `read`, and how many series at most
        Asks the source for a question of a person's own.
    budget : QueryBudget
        Of such questions.
    cone : callable taking a job, a key and the time (Unix seconds)
        Returns how a series goes on that has a limit, None of the others; never waits.
    """

    facts: Callable[[], Facts]
    feed: LatestVerdicts
    recent: RecentVerdicts
    incidents: IncidentLog
    read: Read
    feedback: FeedbackBook = field(default_factory=FeedbackBook)
    sent: SentLog = field(default_factory=SentLog)
    bench: Bench | None = None
    details: Callable[[str], JobDetails] = no_details
    activate: Callable[[str, str, str, str], None] = no_models
    deploys: Callable[[str, Key, float, float], Sequence[Deploy]] = no_deploys
    joint: JointLog = field(default_factory=JointLog)
    read_many: Callable[[str, float, float, float, int], RangeResult] = no_answer
    budget: QueryBudget = field(default_factory=QueryBudget)
    cone: Callable[[str, Key, float], Cone | None] = no_cone

    def workbench(self) -> Bench:
        """Return what runs replays. Raises Off."""
        if self.bench is None:
            raise Off
        return self.bench
