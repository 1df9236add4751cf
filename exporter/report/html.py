"""HTML that cannot be broken out of: text is escaped unless it was made here."""

from html import escape
from typing import Final

_EMPTY: Final = frozenset({"meta", "br"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Html:
    """Return an element; children that are not `Html` are escaped, as are all attributes.

    `class_` stands for `class`, and `data_label` for `data-label`.

    >>> tag("p", "a < b", tag("b", "c"), class_="x")
    '<p class="x">a &lt; b<b>c</b></p>'
    """
    names = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    head = "".join(f' {key}="{escape(_printable(value))}"' for key, value in names)
    if name in _EMPTY:
        return Html(f"<{name}{head}>")
    inside = "".join(child if isinstance(child, Html) else escape(_printable(child)) for child in children)
    return Html(f"<{name}{head}>{inside}</{name}>")


def _printable(text: str) -> str:
    """Replace control characters, line separators and those that turn text around."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
