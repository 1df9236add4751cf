"""`defaults`: keys of a job, laid below every job before anything is checked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from exporter.config.errors import Mistake
from exporter.config.nodes import Node, follow, overlay

_DEFAULTS: Final = "defaults"
_JOBS: Final = "jobs"


def with_defaults(tree: Node) -> Node:
    """Return the tree in which every job has the keys of `defaults` that it does not set; its own ones win.

    As with a profile, mappings such as `alert` are merged, and null takes a default back.
    """
    assert isinstance(tree.value, dict)
    defaults, jobs = tree.value.get(_DEFAULTS), tree.value.get(_JOBS)
    if defaults is None or jobs is None or not isinstance(defaults.value, dict) or not isinstance(jobs.value, dict):
        return tree
    merged = {name: _below(job, defaults, name) for name, job in jobs.value.items()}
    return Node({**tree.value, _JOBS: Node(merged, jobs.origin)}, tree.origin)


def _below(job: Node, defaults: Node, name: str) -> Node:
    if not isinstance(job.value, dict):  # a mistake, and reported as one
        return job
    return Node(overlay(defaults, job, lambda _: (), (_JOBS, name)).value, job.origin)


def where_written(mistakes: Sequence[Mistake], whole: Node, tree: Node) -> list[Mistake]:
    """Return the mistakes with the place where the value stands: `defaults.step` for one that jobs took from there.

    A mistake that only some of these jobs make of it, with their own keys, names the job.

    Parameters
    ----------
    mistakes : sequence of Mistake
        Found in `whole`.
    whole, tree : Node
        The tree with and without the defaults laid below its jobs.
    """
    in_jobs: dict[Mistake, list[str]] = {}
    for mistake in mistakes:
        if len(mistake.place) < 3 or mistake.place[0] != _JOBS:
            in_jobs.setdefault(mistake, [])
            continue
        name, *key = mistake.place[1:]
        found, written = follow(whole, mistake.place), follow(tree, (_DEFAULTS, *key))
        taken = len(found) == len(mistake.place) + 1 and len(written) == len(key) + 2 and found[-1] is written[-1]
        at = replace(mistake, place=(_DEFAULTS, *key)) if taken else mistake
        in_jobs.setdefault(at, []).extend([str(name)] if taken else [])
    jobs = follow(whole, (_JOBS,))[-1].value
    return [
        replace(mistake, message=f"{mistake.message} (in {', '.join(names)})")
        if names and isinstance(jobs, dict) and len(names) < len(jobs)
        else mistake
        for mistake, names in in_jobs.items()
    ]
