"""Which of several replicas judges an entity."""

import json
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from detectors.types import Key


@dataclass(frozen=True, slots=True)
class Shard:
    """Replica `index` (from 0) of `count`. Every entity belongs to exactly one of them, on every machine the same."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str, hostname: str | None = None) -> Self:
        """Read `1/3`, or `auto/3`: the number at the end of the host name, as a StatefulSet gives it to its pods.

        Raises ValueError.
        """
        match = re.fullmatch(r"(\d{1,6}|auto)/(\d{1,6})", text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a shard; use for example 0/3, 1/3, 2/3, or auto/3 in a StatefulSet")
        count = int(match[2])
        if match[1] == "auto":
            name = socket.gethostname() if hostname is None else hostname
            ordinal = re.search(r"-(\d{1,6})$", name.partition(".")[0])
            if ordinal is None:
                raise ValueError(
                    f"shard {text!r}: the host name {name!r} does not end in a number as a StatefulSet's pods do; "
                    f"write the number instead of auto"
                )
            index = int(ordinal[1])
        else:
            index = int(match[1])
        if not index < count:
            raise ValueError(f"shard {index}/{count}: shards are numbered from 0, the last of {count} is {count - 1}")
        return cls(index, count)

    def model_name(self, job: str) -> str:
        """Return the name of `job`'s model in the store: each of several replicas has its own, of its own entities."""
        return job if self.count == 1 else f"{job}@{self.index}-of-{self.count}"

    def owns_value(self, value: str) -> bool:
        """Tell whether this replica judges the entities with a value of the label that a job is split by.

        Where replicas are added or removed at the end, as few values change owner as can be: jump consistent hash
        (Lamping & Veach 2014, https://arxiv.org/abs/1406.2294).
        """
        digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        state, owner, jump = int.from_bytes(digest), -1, 0
        while jump < self.count:
            owner = jump
            state = (state * 2862933555777941757 + 1) % 2**64
            jump = int((owner + 1) * (2**31 / ((state >> 33) + 1)))
        return owner == self.index

    def owns(self, key: Key, together: Collection[str] = (), whole: bool = False) -> bool:
        """Tell whether this replica judges `key`.

        Entities with the same values of the labels in `together` belong to the same replica: the members of a group.
        Without labels each entity is on its own, or all are one group if `whole`.
        """
        if self.count == 1:
            return True
        if together or whole:
            key = tuple(pair for pair in key if pair[0] in together)
        digest = blake2b(json.dumps(key).encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index
