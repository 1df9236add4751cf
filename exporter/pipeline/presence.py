"""Which series of a job have ended and begun, and what is told of those that ended."""

import threading
from collections import OrderedDict, deque
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from detectors.entity_state import Column, EntityState, decode_keys, decode_text, encode_keys, encode_text
from detectors.types import Flags, Key, State
from exporter.config.sections.job import JobConfig
from exporter.context.endings import Ending, Reason, Targets, changing_labels, owner_of, reasons

AROUND: Final = 300.0
"""Seconds, at least, before and after the end of a series within which another one began that replaces it."""
MOST: Final = 20_000
"""Series that ended and are remembered; owners whose habits are."""
_LIVES: Final = 8
_YOUNG: Final = 15
"""Samples of life below which it is not told that a series stopped: it was not there for long enough to be missed."""


class Presence:
    """Follows which entities have samples. A cycle in which none ends or begins costs two comparisons of arrays.

    Parameters
    ----------
    job : JobConfig
        Its `step`, `max_hold` and `identity`.
    """

    def __init__(self, job: JobConfig) -> None:
        self._lock = threading.Lock()
        self._roster = EntityState({"there": Column(False, (), np.bool_), "begun": Column(np.nan)})
        self._ended: OrderedDict[Key, Ending] = OrderedDict()
        self._born: deque[tuple[float, Key]] = deque(maxlen=MOST)
        self._usual: OrderedDict[Key, list[float]] = OrderedDict()
        self._told: dict[Key, Reason] = {}
        self._of_partial: set[Key] = set()
        self._began = -np.inf
        self.pending = False
        """Whether there is something that nobody has looked at."""
        self.reconfigure(job)

    def reconfigure(self, job: JobConfig) -> None:
        """Go on with other settings; what was seen stays."""
        self._around, self._forget, self._identity = max(AROUND, 5 * job.step), job.max_hold, job.identity
        self._step = job.step

    def take(self, keys: tuple[Key, ...], present: Flags, now: float, whole: bool, live: bool) -> dict[Key, Reason]:
        """Take in which entities have a sample at `now` (Unix seconds); return why those ended that are missed.

        Parameters
        ----------
        keys : tuple of Key, length E
        present : Flags, shape (E,)
        now : float
        whole : bool
            Whether the answer was whole.
        live : bool
            Whether somebody will look at it (`look`); of the past only habits are learnt.
        """
        r = self._roster
        r.align(keys)
        there = r["there"]
        changed = np.flatnonzero(there != present)
        if not (len(changed) or self._ended):
            return {}
        with self._lock:
            first = self._began == -np.inf
            for row in changed.tolist():
                key = keys[row]
                if present[row]:
                    self._begin(key, now, first)
                    r["begun"][row] = now
                else:
                    begun = float(r["begun"][row])
                    self._ended[key] = Ending(now, now - begun, not whole)
                    self.pending = True
                    if not whole:
                        self._of_partial.add(key)
            there[changed] = present[changed]
            if whole and self._of_partial:  # a whole answer misses them too
                for key in self._of_partial & self._ended.keys():
                    self._ended[key] = replace(self._ended[key], partial=False)
                self._of_partial.clear()
                self.pending = True
            self._began = now
            self._age(now, live)
            return dict(self._told)

    def _begin(self, key: Key, now: float, first: bool) -> None:
        ended, reason = self._ended.pop(key, None), self._told.pop(key, None)
        if ended is not None and now - ended.at > self._around and reason not in {"down", "replaced", "partial"}:
            self._learn(key, ended.lived)
        if not first:
            self._born.append((now, key))

    def _learn(self, key: Key, lived: float) -> None:
        lives = self._usual.setdefault(key, [])
        lives.append(lived)
        del lives[:-_LIVES]
        self._usual.move_to_end(key)
        while len(self._usual) > MOST:
            self._usual.popitem(last=False)

    def _age(self, now: float, live: bool) -> None:
        """Forget what ended long ago; what was not replaced until then is how its owner usually ends."""
        while self._born and self._born[0][0] < now - 2 * self._around:
            self._born.popleft()
        if not live and self._ended:
            old = {key: each for key, each in self._ended.items() if now - each.at > self._around}
            if old:
                self._habits(old)
                for key in old:
                    del self._ended[key]
        while self._ended and (len(self._ended) > MOST or now - next(iter(self._ended.values())).at > self._forget):
            key, ended = self._ended.popitem(last=False)
            if self._told.pop(key, None) in {"stopped", "finished"}:
                self._learn(owner_of(key, changing_labels((key,), self._identity)), ended.lived)

    def _habits(self, old: dict[Key, Ending]) -> None:
        changing = changing_labels((*old, *self._roster.keys), self._identity)
        born = [key for _, key in self._born if key not in old]
        for key, reason in reasons(old, born, changing, None, {}).items():
            if reason != "replaced":
                for owner in {key, owner_of(key, changing)}:
                    self._learn(owner, old[key].lived)

    def open(self, now: float) -> dict[Key, Ending]:
        """Return what ended and may yet turn out otherwise: what is new, and what may be replaced late."""
        with self._lock:
            self.pending = False
            return {
                key: each
                for key, each in self._ended.items()
                if key not in self._told or each.partial or now - each.at <= self._around
            }

    def look(self, ended: dict[Key, Ending], targets: Targets | None) -> None:
        """Find out why series ended (`open`), with what is known of their targets; from any thread."""
        with self._lock:
            keys = self._roster.keys
            born = [(at, key) for at, key in self._born if key not in self._ended]  # what has ended replaces nothing
            usual = dict(self._usual)
        changing = changing_labels((*ended, *keys), self._identity)
        first = min((each.at for each in ended.values()), default=0.0) - self._around
        last = max((each.at for each in ended.values()), default=0.0) + self._around
        told = reasons(ended, [key for at, key in born if first <= at <= last], changing, targets, usual)
        with self._lock:
            for key, reason in told.items():
                if self._ended.get(key) == ended[key]:
                    young = reason == "stopped" and ended[key].lived < _YOUNG * self._step
                    self._told[key] = "finished" if young else reason

    def state(self) -> State:
        """Return what was seen."""
        with self._lock:
            ended = [(each.at, each.lived, each.partial) for each in self._ended.values()]
            texts = {"ended": ended, "usual": list(self._usual.values())}
            return {
                **self._roster.state(),
                "ended_keys": encode_keys(tuple(self._ended)),
                "usual_keys": encode_keys(tuple(self._usual)),
                "texts": encode_text(msgspec.json.encode(texts).decode()),
                "began": np.array(self._began),
            }

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; nothing of a version without it. Raises ValueError."""
        if not state:
            return
        texts = msgspec.json.decode(decode_text(state["texts"]), type=_Texts)
        ended = [Ending(*each) for each in texts.ended]
        self._ended = OrderedDict(zip(decode_keys(state["ended_keys"]), ended, strict=True))
        self._usual = OrderedDict(zip(decode_keys(state["usual_keys"]), texts.usual, strict=True))
        self._of_partial = {key for key, each in self._ended.items() if each.partial}
        self._began = float(state["began"].astype(np.float64))
        names = ("ended_keys", "usual_keys", "texts", "began")
        self._roster.restore({name: each for name, each in state.items() if name not in names})
        self.pending = bool(self._ended)


class _Texts(msgspec.Struct):
    ended: list[tuple[float, float, bool]]
    usual: list[list[float]]
