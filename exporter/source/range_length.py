"""How long a range of a query the source answers, learnt from what it refused."""

import math
from dataclasses import dataclass
from typing import Final

FIRST_PATIENCE: Final = 8
LONGEST_PATIENCE: Final = 1024
"""Answers of the length known to work before a longer range is tried again: at first, and after many vain tries."""


@dataclass(slots=True)
class RangeLength:
    """How many columns of one query to ask for at once.

    A refused range is halved until a part of it is answered. What is refused may be its length, which then stays
    shorter for a while, or one time in it. It was such a time when a column alone was refused within the range: the
    length is then what it was before.
    """

    most: float = math.inf
    """Columns to ask for at most."""
    refused: float = math.inf
    """Fewest columns that were too many."""
    patience: int = FIRST_PATIENCE
    answers: int = 0
    """Answers of full length since the last one was refused."""
    suspected: float = -math.inf
    """Column after the range that was refused first, as long as the reason is not known."""
    before: tuple[float, int] = (math.inf, FIRST_PATIENCE)
    """`refused` and `patience` before that range."""

    def refuse(self, first: int, count: int) -> None:
        """Note that `count` columns, from column `first` on, were refused."""
        if first >= self.suspected:
            self.suspected, self.before = first + count, (self.refused, self.patience)
        if count >= self.refused:  # it was tried again, in vain
            self.patience = min(2 * self.patience, LONGEST_PATIENCE)
        self.refused, self.most, self.answers = count, max(count // 2, 1), 0

    def answer(self, first: int, count: int) -> None:
        """Note that `count` columns, from column `first` on, were answered."""
        if first >= self.suspected:
            self.suspected = -math.inf
        if count < self.most:
            return
        self.answers += 1
        if 2 * self.most < self.refused:
            self.most = 2 * self.most
        elif self.answers >= self.patience:
            self.most, self.answers = 2 * self.most, 0

    def skip(self) -> None:
        """Note that one column alone was refused: it is not the length."""
        self.refused, self.patience = self.before
        self.suspected = -math.inf
