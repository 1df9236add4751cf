"""What can be said of a PromQL expression without a server: that it is not empty and its brackets and quotes match.

Whether Prometheus accepts it, only Prometheus knows; the first query tells.
"""

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<quote>["'`])
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
    """,
    re.VERBOSE,
)
_PARTNER: Final = {")": "(", "]": "[", "}": "{"}


def balanced(expr: str) -> str:
    """Return `expr` as it is. Raises ValueError when it is blank or a bracket or quote has no partner."""
    opened: list[re.Match[str]] = []
    blank = True
    for match in _TOKEN.finditer(expr):
        if match.lastgroup == "quote":
            raise ValueError(f"the quote {match[0]} at character {match.start() + 1} is never closed")
        if match.lastgroup == "open":
            opened.append(match)
        elif match.lastgroup == "close":
            if not opened:
                raise ValueError(f"the bracket {match[0]} at character {match.start() + 1} closes nothing")
            last = opened.pop()
            if last[0] != _PARTNER[match[0]]:
                raise ValueError(
                    f"the bracket {last[0]} at character {last.start() + 1} is closed by {match[0]} "
                    f"at character {match.start() + 1}"
                )
        blank = blank and match.lastgroup == "comment"
    if opened:
        raise ValueError(f"the bracket {opened[-1][0]} at character {opened[-1].start() + 1} is never closed")
    if blank and not re.sub(r"#[^\n]*", "", expr).strip():
        raise ValueError("is empty; write a PromQL expression")
    return expr
