"""Why a series has ended: its target is down, another one replaced it, it stopped, or it ends as it usually does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from detectors.types import Key
from exporter.context.deploys import LABELS
from exporter.context.labels import INSTANCE, VERSION
from exporter.source.samples import RangeResult

Reason = Literal["down", "replaced", "stopped", "finished", "partial"]
REASONS: Final[tuple[Reason, ...]] = ("down", "replaced", "stopped", "finished", "partial")
ALERTED: Final[tuple[Reason, ...]] = ("down", "stopped")
_CHANGING: Final = frozenset((*INSTANCE, *VERSION))
_LEAST: Final = 3
"""Entities from which on it is seen which of their labels change together."""
_LOOKED_AT: Final = 2000
USUAL: Final = 2
"""Earlier endings of the same kind from which on another one is usual."""
TargetState = Literal["up", "down", "gone", "unknown"]


@dataclass(frozen=True, slots=True)
class Ending:
    """A series that has ended.

    Parameters
    ----------
    at : float
        Unix seconds of the first sample that it did not have.
    lived : float
        Seconds from its first sample to that.
    partial : bool
        Whether the source said that its answer was not whole.
    """

    at: float
    lived: float
    partial: bool = False


def changing_labels(keys: Sequence[Key], identity: Iterable[str] | None = None) -> frozenset[str]:
    """Return the labels that differ between instances of one owner, and with every rollout.

    These are those that usually do, and those that change together with one of them: one value for each of its values.
    With `identity`, all labels but these.
    """
    names = {name for key in keys[:_LOOKED_AT] for name, _ in key}
    if identity is not None:
        return frozenset(names - set(identity))
    some = [dict(key) for key in keys[:_LOOKED_AT]]
    known = names & _CHANGING
    found = set(known)
    for name in known:
        for other in names - found:
            pairs = {(labels[name], labels[other]) for labels in some if name in labels and other in labels}
            ones, others = {one for one, _ in pairs}, {another for _, another in pairs}
            if len(pairs) >= _LEAST and len(pairs) == len(ones) == len(others):
                found.add(other)
    return frozenset(found)


def owner_of(key: Key, changing: frozenset[str]) -> Key:
    """Return what stays of an entity's labels when it is replaced."""
    return tuple(pair for pair in key if pair[0] not in changing)


class Targets:
    """What `up` says about the targets of series.

    Parameters
    ----------
    answer : RangeResult
        Of `up`, over the last minutes.
    newest : float
        Unix seconds from which on a sample is new.
    """

    def __init__(self, answer: RangeResult, newest: float) -> None:
        self._targets: list[tuple[dict[str, str], TargetState]] = []
        end = 0
        for label, count in zip(answer.labels, answer.counts.tolist(), strict=True):
            end += count
            labels = LABELS.decode(label)
            labels.pop("__name__", None)
            there, alive = float(answer.times[end - 1]) >= newest, float(answer.values[end - 1]) > 0
            self._targets.append((labels, "gone" if not there else "up" if alive else "down"))
        self._names = frozenset(name for labels, _ in self._targets for name in labels)
        self._by_names: dict[tuple[str, ...], dict[tuple[str, ...], set[TargetState]]] = {}

    def part(self, key: Key) -> Key:
        """Return the labels of an entity that targets have too."""
        return tuple(pair for pair in key if pair[0] in self._names)

    def state(self, key: Key) -> TargetState:
        """Return how the targets of an entity are: up if any is, unknown where nothing says which they are."""
        part = self.part(key)
        if not part:
            return "unknown"
        names = tuple(name for name, _ in part)
        index = self._by_names.get(names)
        if index is None:
            index = self._by_names[names] = {}
            for labels, state in self._targets:
                index.setdefault(tuple(labels.get(name, "") for name in names), set()).add(state)
        found = index.get(tuple(value for _, value in part), set())
        if not found:
            return "unknown"
        return "up" if "up" in found else "down" if "down" in found else "gone"


def reasons(
    ended: Mapping[Key, Ending], born: Sequence[Key], changing: frozenset[str], targets: Targets | None,
    usual: Mapping[Key, Sequence[float]],
) -> dict[Key, Reason]:  # fmt: skip
    """Tell why series have ended.

    A sibling replaces one series at most: of 50 that ended and 48 that began, two are not replaced. One whose target
    lives is replaced only by another series of that target (a label has another name or value); one whose target does
    not answer is not replaced, for Prometheus still expects it.

    Parameters
    ----------
    ended : mapping of Key to Ending
    born : sequence of Key
        What began around then.
    changing : frozenset of str
        As of `changing_labels`.
    targets : Targets or None
        None: nobody knows.
    usual : mapping of Key to sequence of float
        By owner, and by entity, how long those lived in seconds that ended before without being replaced.
    """
    found: dict[Key, Reason] = {}
    state = {key: "unknown" if targets is None else targets.state(key) for key in ended}
    free = {key for key, each in ended.items() if state[key] in {"gone", "unknown"} and not each.partial}
    same_target = {key for key, each in ended.items() if state[key] == "up" and not each.partial}
    left = list(born)
    if targets is not None and same_target:
        left = _match(same_target, left, found, lambda key: _renamings(key, targets.part(key)))
    if free:
        left = _match(free, left, found, lambda key: ((owner_of(key, changing), len(key)),))
        _match(free - found.keys(), left, found, lambda key: _renamings(key, ()))
    for key, each in ended.items():
        if key in found:
            continue
        if each.partial:
            found[key] = "partial"
        elif state[key] != "down" and _is_usual(each, usual.get(key, ()), usual.get(owner_of(key, changing), ())):
            found[key] = "finished"
        else:
            found[key] = "down" if state[key] in {"down", "gone"} else "stopped"
    return found


def _match(
    of: set[Key], born: list[Key], found: dict[Key, Reason], signs: Callable[[Key], Iterable[object]]
) -> list[Key]:
    """Note as replaced those that share a sign with something that began; return what began and replaces none."""
    by_sign: dict[object, list[int]] = {}
    for at, key in enumerate(born):
        for sign in signs(key):
            by_sign.setdefault(sign, []).append(at)
    taken: set[int] = set()
    for key in sorted(of):
        for sign in signs(key):
            candidates = by_sign.get(sign, [])
            while candidates and candidates[-1] in taken:
                candidates.pop()
            if candidates:
                taken.add(candidates.pop())
                found[key] = "replaced"
                break
    return [key for at, key in enumerate(born) if at not in taken]


def _renamings(key: Key, fixed: Key) -> Iterable[object]:
    """Yield signs that two series share of which one label has another name or value, but for the `fixed` ones."""
    free = [pair for pair in key if pair not in fixed]
    yield fixed, "names", tuple(sorted(value for _, value in free)), len(key)
    if len(key) > 1:
        for name, _ in free:
            yield fixed, name, tuple(pair for pair in key if pair[0] != name)


def _is_usual(ending: Ending, *lives: Sequence[float]) -> bool:
    """Tell whether endings after about that time have been there before."""
    return any(len(each) >= USUAL and 0.5 * min(each) <= ending.lived <= 2.0 * max(each) for each in lives)
