"""The deploys that concern the entities of one job, and those that its incidents began after."""

from bisect import bisect_left, bisect_right
from typing import Final

import msgspec
import numpy as np

from detectors.entity_state import decode_keys, decode_text, encode_keys, encode_text, position
from detectors.types import Flags, Floats, Key, State
from detectors.units import DAY
from exporter.config.sections.context import DeploysConfig
from exporter.context.deploy_book import KNOWN_AFTER, DeployBook, questions
from exporter.context.deploys import Deploy
from exporter.context.owners import EntityOwners

HORIZON: Final = DAY
"""Seconds for which a deploy may still concern anything."""
BEFORE: Final = 120.0
"""Seconds that an incident may begin before its deploy is seen: each has a scrape interval of its own."""
CATCH_UP: Final = 3600.0
"""Seconds of samples from which on a cycle, which then takes long anyway, waits for the deploys of that time."""
MOST_NAMED: Final = 1000
"""Incidents that begin with one sample of which it is told what was deployed before."""
Named = tuple[Deploy, ...]


class OwnDeploys:
    """What the book of all deploys means for the entities of one job.

    Parameters
    ----------
    book : DeployBook
    waits : bool
        Whether every cycle waits for its deploys, as there is nobody else who asks.
    """

    def __init__(self, book: DeployBook, waits: bool = False) -> None:
        self.book, self._waits = book, waits
        self._known: tuple[Deploy, ...] = ()
        self._of: tuple[int, DeploysConfig | None] = -1, None
        self._owners: EntityOwners | None = None
        self._newest: tuple[tuple[int, int], Floats | None] = (0, 0), None

    def catch_up(self, config: DeploysConfig, first: float, until: float) -> None:
        """Have the book read what a cycle over the samples from `first` to `until` (Unix seconds) needs. Never raises.

        Cycles over a minute or two do not wait for it.
        """
        if self._waits or until - first >= CATCH_UP:
            self.book.read(questions(config), first - HORIZON, until)

    def newest(self, config: DeploysConfig, keys: tuple[Key, ...], now: float) -> Floats | None:
        """Return when the newest deploy of each entity's owner was, as far as it is heeded at `now` (Unix seconds).

        Returns
        -------
        Floats, shape (E,), or None
            Unix seconds, NaN without one within HORIZON; None where no entity has one.
        """
        between = self._heeded(config, now)
        if between[0] == between[1]:
            return None
        owners = self._owners
        if owners is None or owners.keys is not keys or owners.said is not config.owner:
            owners = self._owners = EntityOwners(keys, config.owner, owners)
            self._newest = (0, 0), None
        if self._newest[0] != between:
            found = np.full(len(keys), np.nan)
            for deploy in self._known[slice(*between)]:
                found[owners.rows(deploy.owner)] = deploy.at
            self._newest = between, None if np.isnan(found).all() else found
        return self._newest[1]

    def before(self, config: DeploysConfig, row: int, since: float, now: float) -> Named:
        """Return the deploys of an entity's owner after which something began `since` (Unix seconds), newest first.

        `row` is that of the entity in the keys of the last call of `newest`, which was about the sample at `now`.
        """
        first, last = self._heeded(config, now)
        begin = bisect_left(self._known, since - config.within, first, last, key=_when)
        end = bisect_right(self._known, since + BEFORE, begin, last, key=_when)
        owners = self._owners
        if owners is None:
            return ()
        return tuple(
            deploy
            for deploy in reversed(self._known[begin:end])
            if position(owners.rows(deploy.owner), row) is not None
        )

    def _heeded(self, config: DeploysConfig, now: float) -> tuple[int, int]:
        """Return the first and the one after the last of the deploys that count at `now`."""
        revision = self.book.revision
        if self._of != (revision, config):
            self._known, self._of = self.book.known(questions(config)), (revision, config)
            self._newest = (0, 0), None
        first = bisect_left(self._known, now - HORIZON, key=_when)
        return first, max(bisect_right(self._known, now - KNOWN_AFTER, key=_when), first)


def _when(deploy: Deploy) -> float:
    return deploy.at


class IncidentDeploys:
    """Keeps for every open incident the deploys that it began after."""

    def __init__(self) -> None:
        self._named: dict[Key, tuple[float, Named]] = {}

    def state(self) -> State:
        """Return what is known."""
        each = [(since, named) for since, named in self._named.values()]
        return {"keys": encode_keys(tuple(self._named)), "named": encode_text(msgspec.json.encode(each).decode())}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; nothing of a version that knew no deploys. Raises ValueError."""
        if state:
            each = msgspec.json.decode(decode_text(state["named"]), type=list[tuple[float, Named]])
            self._named = dict(zip(decode_keys(state["keys"]), each, strict=True))

    def take(
        self, deploys: OwnDeploys | None, config: DeploysConfig, keys: tuple[Key, ...], now: float, shown: Flags,
        since: Floats,
    ) -> dict[int, Named]:  # fmt: skip
        """Return by row the deploys that incidents began after, of those that are open or have just ended.

        Parameters
        ----------
        deploys : OwnDeploys or None
        config : DeploysConfig
        keys : tuple of Key, length E
        now : float
            Unix seconds of the newest sample.
        shown : Flags, shape (E,)
        since : Floats, shape (E,)
            Unix seconds; NaN where the incident is over.
        """
        rows = np.flatnonzero(shown)
        if not len(rows):
            self._named.clear()
            return {}
        settled = BEFORE + KNOWN_AFTER + 60.0
        young = rows[now - since[rows] <= settled] if deploys is not None else rows[:0]
        before, self._named = self._named, {}
        found: dict[int, Named] = {}
        if deploys is not None and len(young) and deploys.newest(config, keys, now) is not None:
            for row in young[:MOST_NAMED].tolist():
                if named := deploys.before(config, row, float(since[row]), now):
                    self._named[keys[row]] = float(since[row]), named
                    found[row] = named
        if before:
            for row in rows.tolist():
                kept = before.get(keys[row])
                if kept is not None and row not in found and (np.isnan(since[row]) or kept[0] == since[row]):
                    self._named[keys[row]] = kept
                    found[row] = kept[1]
        return found
