"""Jobs that teams declare in objects of Kubernetes: which of it becomes a job, and what is refused alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.config.declared_job import checked
from exporter.config.declared_objects import LARGEST, MOST_OBJECTS, Declaration
from exporter.config.errors import ConfigError, Mistake
from exporter.config.nodes import Node, Origin, node_of
from exporter.config.read_file import parse
from exporter.config.sections.discover import BETWEEN, DiscoverConfig
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.promql import selector

MOST_OF_ONE: Final = 500
"""Jobs that one object may name, good ones and wrong ones."""
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_.-]+")


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
        return checked(full, node, each, config), node, []
    except ConfigError as error:
        found = list(error.mistakes)
    except Exception as error:  # a defect, or more than a library can take: of this job alone
        text = f"cannot be checked ({type(error).__name__}); write it in another way, and please report it"
        found = [Mistake(node.origin.source, node.origin.line, ("jobs", full.partition(BETWEEN)[2]), text)]
    if last is not None:
        try:
            return checked(full, last, each, config), last, found
        except Exception:  # the configuration of the exporter does not let it any more
            return None, None, found
    return None, None, found


def _lines(mistakes: Sequence[Mistake], stays: bool) -> str:
    text = str(ConfigError(*mistakes))
    return f"{text}\nthe version before stays in force" if stays else text
