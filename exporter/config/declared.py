"""Jobs that teams declare in objects of Kubernetes: what an object says, and which of it becomes a job."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from detectors import DETECTORS
from exporter.config.defaults import with_defaults
from exporter.config.errors import ConfigError, Mistake
from exporter.config.nodes import Node, Origin, node_of
from exporter.config.read_file import parse
from exporter.config.sections.alerting import AlertConfig
from exporter.config.sections.discover import BETWEEN, JOBS, DiscoverConfig
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.validation import validate
from exporter.promql import format_duration, selector
from exporter.promql_tenant import of_tenant, require_small

CONFIG_MAP: Final = "ConfigMap"
RULE: Final = "PrometheusRule"
LARGEST: Final = 128 * 2**10
"""Bytes of what one object declares: a hundred times what a job needs."""
MOST_OBJECTS: Final = 100
"""Objects of one kind in a namespace that are kept."""
MOST_OF_ONE: Final = 500
"""Jobs that one object may name, good ones and wrong ones."""
MOST_CHANNELS: Final = 20
MOST_RULES: Final = 2000
"""Recording rules of one object that are looked at."""
KEYS: Final = frozenset(
    {"expr", "channels", "entity", "group", "peers", "identity", "step", "window", "detector", "history", "lag", "fill"}
    | {"direction", "least_deviation", "unit", "valid_range", "open_after", "clear_after", "flap_limit", "flap_window"}
    | {"max_hold", "false_alarms", "calendars", "max_age", "max_series", "rate", "forecast", "alert"}
)
"""What a team may say of a job. No key of these names an address, a file or a secret."""
ALERT_KEYS: Final = frozenset({"severity"})
"""What it may say of the job's alert: one rule holds for all declared jobs."""
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_.-]+")
_SHARED: Final = {"defaults", "calendars", "deploys", "drift_detection"}
"""Sections of the configuration that a declared job has to agree with."""
_OURS: Final = Origin("the configuration of the exporter")


@dataclass(frozen=True, slots=True, order=True)
class Declaration:
    """What one object declares; in the order of these fields the first of two with the same job has it.

    Parameters
    ----------
    created : str
        When the object was made, as Kubernetes writes it; "" where that is not known.
    kind, namespace, name : str
    texts : tuple of (str, str)
        YAML documents with `jobs`, each with the key under which it stands.
    rules : tuple of (str, str, str)
        Name (`anomaly_name`), recorded metric and expression of the recording rules that are to be judged.
    size : int
        Bytes of all that; where they are too many, texts and rules are left out. -1: there are too many objects.
    uid : str
    """

    created: str
    kind: str
    namespace: str
    name: str
    texts: tuple[tuple[str, str], ...] = ()
    rules: tuple[tuple[str, str, str], ...] = ()
    size: int = 0
    uid: str = ""

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Refused:
    """A declaration, or one job of it, that is not in force.

    Parameters
    ----------
    declaration : Declaration
    job : str
        "" for the whole of it.
    text : str
        What is wrong and what to do, one line for each mistake.
    """

    declaration: Declaration
    job: str
    text: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What all declarations come to.

    Parameters
    ----------
    jobs : mapping of str to JobConfig
        By qualified name.
    owners : mapping of str to Declaration
        Where each of them is declared.
    refused : tuple of Refused
    nodes : mapping
        The newest good version of every job, by declaration and name: what goes on where the next one is wrong.
    """

    jobs: Mapping[str, JobConfig]
    owners: Mapping[str, Declaration]
    refused: tuple[Refused, ...]
    nodes: Mapping[tuple[str, str], Node]


NOTHING: Final = Declared({}, {}, (), {})


def declaration(made: Mapping[str, Any], discover: DiscoverConfig) -> Declaration | None:
    """Return what an object of Kubernetes declares, None where it declares nothing.

    Parameters
    ----------
    made : mapping
        A ConfigMap or a PrometheusRule.
    discover : DiscoverConfig
    """
    kind, metadata = _text(made.get("kind")), _mapping(made.get("metadata"))
    texts: list[tuple[str, str]] = []
    rules: list[tuple[str, str, str]] = []
    if kind == CONFIG_MAP:
        data = _mapping(made.get("data"))
        texts = sorted((key, _text(text)) for key, text in data.items() if _text(key).endswith(_ENDINGS))
    elif kind == RULE:
        annotations = _mapping(metadata.get("annotations"))
        if discover.rules and JOBS in annotations:
            texts = [(JOBS, _text(annotations[JOBS]))]
        rules = list(_named_rules(made)) if discover.anomaly_names else []
        if not texts and not rules:
            return None
    size = sum(len(part.encode(errors="replace")) for each in (*texts, *rules) for part in each)
    too_much = size > LARGEST
    return Declaration(
        _text(metadata.get("creationTimestamp")),
        kind,
        _text(metadata.get("namespace")),
        _text(metadata.get("name")),
        () if too_much else tuple(texts),
        () if too_much else tuple(rules),
        size,
        _text(metadata.get("uid")),
    )


def without_content(each: Declaration) -> Declaration:
    """Return the declaration of an object that is one too many in its namespace."""
    return replace(each, texts=(), rules=(), size=-1)


_ENDINGS: Final = (".yml", ".yaml", ".json")


def _named_rules(made: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, metric and expression of the recording rules with a name, each name once.

    The same name for several strategies is one question: which strategy looks for anomalies is our affair.
    """
    found: dict[str, None] = {}
    groups = _list(_mapping(made.get("spec")).get("groups"))
    rules = [_mapping(rule) for group in groups for rule in _list(_mapping(group).get("rules"))]
    for rule in rules[:MOST_RULES]:
        labels = _mapping(rule.get("labels"))
        name, record = _text(labels.get("anomaly_name")), _text(rule.get("record"))
        if name and record and name not in found:
            found[name] = None
            yield name, record, _text(rule.get("expr"))


def _mapping(part: Any) -> Mapping[str, Any]:
    """Return a part of an object, nothing where it has another form: whether a schema holds is not in our hands."""
    return part if isinstance(part, Mapping) else {}


def _text(part: Any) -> str:
    return part if isinstance(part, str) else ""


def _list(part: Any) -> Sequence[Any]:
    return part if isinstance(part, list) else ()


def declared(declarations: Sequence[Declaration], config: Config, before: Declared = NOTHING) -> Declared:
    """Return the jobs of all declarations, as the configuration lets them be; whatever is wrong is refused alone.

    Parameters
    ----------
    declarations : sequence of Declaration
    config : Config
        Of the exporter; it has `discover`.
    before : Declared
        What was in force until now: a job whose new version is wrong goes on as it was.
    """
    assert config.discover is not None
    jobs: dict[str, JobConfig] = {}
    owners: dict[str, Declaration] = {}
    refused: list[Refused] = []
    nodes: dict[tuple[str, str], Node] = {}
    counts: dict[str, int] = {}
    for each in sorted(declarations):
        written, wrong = _written(each, config.discover)
        held = {name for path, name in before.nodes if path == each.path}
        if wrong and not written:
            refused.append(Refused(each, "", _lines(wrong, bool(held))))
            written = {name: (before.nodes[each.path, name], ()) for name in sorted(held)}
        elif wrong:
            refused.append(Refused(each, "", _lines(wrong, stays=False)))
        left_out: list[str] = []
        most = config.discover.most_jobs(each.namespace)
        for name, (node, mistakes) in written.items():
            full = f"{each.namespace}{BETWEEN}{name}"
            if taken := _taken(full, each, owners, config):
                refused.append(Refused(each, name, taken))
                continue
            if counts.get(each.namespace, 0) >= most:
                left_out.append(name)
                continue
            job, used, found = _job(full, node, mistakes, each, config, before.nodes.get((each.path, name)))
            if found:
                refused.append(Refused(each, name, _lines(found, job is not None)))
            if job is not None and used is not None:
                jobs[full], owners[full], nodes[each.path, name] = job, each, used
                counts[each.namespace] = counts.get(each.namespace, 0) + 1
        if left_out:
            shown = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
            text = f"the namespace has {most} jobs already, as many as the operator of the exporter lets it have"
            refused.append(Refused(each, "", f"{text}; left out: {shown}"))
    shares = {name: config.discover.budget_of(name) / count for name, count in counts.items()}
    jobs = {
        name: job.model_copy(update={"budget": shares[owners[name].namespace]}) for name, job in sorted(jobs.items())
    }
    return Declared(jobs, owners, tuple(refused), nodes)


Written = dict[str, tuple[Node, Sequence[Mistake]]]
"""Jobs as they are written, each with the mistakes in its own keys."""


def _written(each: Declaration, discover: DiscoverConfig) -> tuple[Written, list[Mistake]]:
    """Return the jobs that a declaration names, each with the mistakes in its own keys, and those of the whole."""
    found: Written = {}
    wrong: list[Mistake] = []
    if each.size > LARGEST:
        text = f"declares {each.size:,} bytes, more than {LARGEST:,}; split it into several objects"
        return found, [Mistake(each.path, None, (), text)]
    if each.size < 0:
        text = f"the namespace has {MOST_OBJECTS} objects that declare jobs; this one and later ones are not read"
        return found, [Mistake(each.path, None, (), text)]
    for key, text in each.texts:
        file = f"{each.path}/{key}"
        try:
            jobs, mistakes = _jobs(text, file)
        except ConfigError as error:
            wrong += error.mistakes
            continue
        except Exception as error:  # a defect: of this text alone
            wrong.append(Mistake(file, None, (), f"cannot be read ({type(error).__name__}); please report it"))
            continue
        own, others = _by_job(mistakes, jobs)
        wrong += others
        for name, node in jobs.items():
            if name in found:
                wrong.append(Mistake(file, node.origin.line, ("jobs", name), "is declared twice in this object"))
                continue
            found[name] = node, own[name]
    for name, metric, expr in each.rules:
        known = _NOT_A_NAME.sub("_", name)[:100]
        origin = Origin(f"{each.path}/{metric}")
        # The recorded series may have lost the label that says whose they are; their expression has it.
        asked = expr if discover.enforce is not None else selector(metric, anomaly_name=name)
        found.setdefault(known, (node_of({"expr": asked, "rate": False}, origin), ()))
    if len(found) > MOST_OF_ONE:
        return {}, [Mistake(each.path, None, (), f"declares {len(found):,} jobs, more than {MOST_OF_ONE}; split it")]
    return found, wrong


def _jobs(text: str, file: str) -> tuple[dict[str, Node], list[Mistake]]:
    """Return the jobs of a document. Raises ConfigError where it is none."""
    root, mistakes = parse(text, file)
    if root is None or not isinstance(root.value, dict):
        raise ConfigError(Mistake(file, None, (), "must be keys with values, beginning with 'jobs:'"))
    others = [name for name in root.value if name != "jobs"]
    for name in others:
        line = root.value[name].origin.line
        message = "is set by the operator of the exporter; a team declares nothing but jobs"
        mistakes.append(Mistake(file, line, (name,), message))
    jobs = root.value.get("jobs")
    if jobs is None or not isinstance(jobs.value, dict) or not jobs.value:
        line = None if jobs is None else jobs.origin.line
        raise ConfigError(*mistakes, Mistake(file, line, ("jobs",), "must be jobs by name"))
    return jobs.value, mistakes


def _by_job(mistakes: Sequence[Mistake], jobs: Mapping[str, Node]) -> tuple[dict[str, list[Mistake]], list[Mistake]]:
    own: dict[str, list[Mistake]] = {name: [] for name in jobs}
    others: list[Mistake] = []
    for each in mistakes:
        name = each.place[1] if len(each.place) > 1 and each.place[0] == "jobs" else None
        own.get(str(name), others).append(each)
    return own, others


def _taken(full: str, each: Declaration, owners: Mapping[str, Declaration], config: Config) -> str:
    """Return why a name cannot be had, "" where it can."""
    if full in config.jobs:
        return f"the configuration of the exporter has a job {full} of its own; give this one another name"
    if full in owners and owners[full] is not each:
        return f"{owners[full].kind} {owners[full].name} of the same namespace has this job already; rename one of them"
    return ""


def _job(
    full: str, node: Node, mistakes: Sequence[Mistake], each: Declaration, config: Config, last: Node | None
) -> tuple[JobConfig | None, Node | None, list[Mistake]]:
    """Return the job, the text it is made of, and what is wrong; of a wrong one the version before goes on."""
    try:
        if mistakes:
            raise ConfigError(*mistakes)
        return _checked(full, node, each, config), node, []
    except ConfigError as error:
        found = list(error.mistakes)
    except Exception as error:  # a defect, or more than a library can take: of this job alone
        text = f"cannot be checked ({type(error).__name__}); write it in another way, and please report it"
        found = [Mistake(node.origin.source, node.origin.line, ("jobs", full.partition(BETWEEN)[2]), text)]
    if last is not None:
        try:
            return _checked(full, last, each, config), last, found
        except Exception:  # the configuration of the exporter does not let it any more
            return None, None, found
    return None, None, found


def _checked(full: str, node: Node, each: Declaration, config: Config) -> JobConfig:
    """Return a job as the configuration lets it be. Raises ConfigError."""
    name = full.partition(BETWEEN)[2]
    discover = config.discover
    assert discover is not None
    # Before anything is made of it: a detector or a parser would already take what it must not.
    if closed := [*_outside(node, name), *_too_much(node, name, discover)]:
        raise ConfigError(*closed)
    dumped = node_of(config.model_dump(mode="json", by_alias=True, exclude_unset=True, include=_SHARED), _OURS)
    assert isinstance(dumped.value, dict)
    tree = Node({**dumped.value, "jobs": Node({full: node}, node.origin)}, _OURS)
    try:
        job = validate(with_defaults(tree), Config).jobs[full]
    except ConfigError as error:
        raise ConfigError(*(_of_team(mistake, full, name) for mistake in error.mistakes)) from None
    return _limited(job, node, name, each, config)


def _outside(node: Node, name: str) -> Iterator[Mistake]:
    """Yield the keys of a job that are the operator's."""
    if not isinstance(node.value, dict):
        return
    operators = {info.alias or key for key, info in JobConfig.model_fields.items()} - KEYS
    for key, child in node.value.items():
        if key in operators:
            yield _not_yours(child, ("jobs", name, key))
    alert = node.value.get("alert")
    if alert is not None and isinstance(alert.value, dict):
        operators = {info.alias or key for key, info in AlertConfig.model_fields.items()} - ALERT_KEYS
        for key, child in alert.value.items():
            if key in operators:
                yield _not_yours(child, ("jobs", name, "alert", key))


def _too_much(node: Node, name: str, discover: DiscoverConfig) -> Iterator[Mistake]:
    """Yield what would take too much to be looked at closer; whatever has the wrong form is left to the validation."""
    if not isinstance(node.value, dict):
        return

    def mistake(child: Node, text: str, *place: str) -> Mistake:
        return Mistake(child.origin.source, child.origin.line, ("jobs", name, *place), text)

    if (detector := node.value.get("detector")) is not None:
        chosen = next(iter(detector.value), "") if isinstance(detector.value, dict) else detector.value
        if isinstance(chosen, str) and chosen in DETECTORS and chosen not in discover.detectors:
            allowed = ", ".join(discover.detectors)
            yield mistake(detector, f"{chosen} is not one that declared jobs may use: {allowed}", "detector")
    channels = node.value.get("channels")
    several = channels.value if channels is not None and isinstance(channels.value, dict) else {}
    if channels is not None and len(several) > MOST_CHANNELS:
        yield mistake(channels, f"has {len(several)} channels; a declared job may have {MOST_CHANNELS}", "channels")
    queries: dict[tuple[str, ...], Node] = {("channels", channel): expr for channel, expr in several.items()}
    if "expr" in node.value:
        queries["expr",] = node.value["expr"]
    for place, expr in queries.items():
        try:
            require_small(str(expr.value))
        except ValueError as error:
            yield mistake(expr, str(error), *place)


def _not_yours(node: Node, place: tuple[str, ...]) -> Mistake:
    message = "is set by the operator of the exporter and not by a team; leave it out"
    return Mistake(node.origin.source, node.origin.line, place, message)


def _of_team(mistake: Mistake, full: str, name: str) -> Mistake:
    """Return a mistake with the name of the job as its team wrote it."""
    place = mistake.place
    return replace(mistake, place=("jobs", name, *place[2:])) if place[:2] == ("jobs", full) else mistake


def _limited(job: JobConfig, node: Node, name: str, each: Declaration, config: Config) -> JobConfig:
    """Return the job within the limits of its namespace. Raises ConfigError."""
    discover = config.discover
    assert discover is not None
    wrong: list[Mistake] = []

    def refuse(key: str, text: str) -> None:
        child = node.value.get(key, node) if isinstance(node.value, dict) else node
        wrong.append(Mistake(child.origin.source, child.origin.line, ("jobs", name, key), text))

    if job.step < discover.least_step:
        refuse("step", f"must be at least {format_duration(discover.least_step)}, says the operator of the exporter")
    if job.samples > discover.samples:
        refuse("window", f"holds {job.samples:,} samples; the operator of the exporter allows {discover.samples:,}")
    if isinstance(job.history, float) and job.history > discover.longest_history:
        refuse("history", f"must be at most {format_duration(discover.longest_history)}, says the operator")
    key, queries = ("channels", dict(job.channels)) if job.channels else ("expr", dict(job.queries))
    if discover.enforce is not None:
        for channel, expr in queries.items():
            try:
                queries[channel] = of_tenant(expr, discover.enforce, each.namespace)
            except ValueError as error:
                refuse(key, f"{channel}: {error}" if job.channels else str(error))
    if wrong:
        raise ConfigError(*wrong)
    most = min(each for each in (job.max_series, discover.series, config.limits.series) if each is not None)
    asked = {"channels": queries} if job.channels else {"expr": queries["value"]}
    alert = AlertConfig(severity=job.alert.severity, receivers=discover.receivers_of(each.namespace))
    return job.model_copy(update={**asked, "max_series": most, "alert": alert})


def _lines(mistakes: Sequence[Mistake], stays: bool) -> str:
    text = str(ConfigError(*mistakes))
    return f"{text}\nthe version before stays in force" if stays else text
