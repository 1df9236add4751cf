"""Names of labels: as they are for Prometheus 3, and in the forms in which older servers can take them.

Prometheus 3 keeps every name that is UTF-8, such as `service.name`, and says in a scrape which form it wants. The forms
are those of Prometheus: https://prometheus.io/docs/instrumenting/escaping_schemes/
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal, get_args

from prometheus_client.openmetrics.exposition import escape_label_name

from detectors.types import Key

Scheme = Literal["allow-utf-8", "underscores", "dots", "values"]
"""How a name that only Prometheus 3 knows is written; all other names are the same in every form."""
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)
ALLOW_UTF8: Final = "allow-utf-8"
UNDERSCORES: Final = "underscores"

RESERVED: Final = frozenset({"query", "detector"})
"""Labels of our series that a label of the source makes way for."""

_LEGACY: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_STRANGE: Final = re.compile(r"[^a-zA-Z0-9_]")
_CLASSIC: Final = re.compile(rf"(?!__){_LEGACY.pattern}")  # what begins with __ belongs to Prometheus


def is_classic(name: str) -> bool:
    """Tell whether every Prometheus knows a name, and leaves it to the source."""
    return _CLASSIC.fullmatch(name) is not None


def all_classic(keys: Iterable[Key]) -> bool:
    """Tell whether the labels of series are the same in every form."""
    return all(map(is_classic, {name for key in keys for name, _ in key}))


@lru_cache(maxsize=256)  # the series of one query mostly have the same label names
def published_names(names: tuple[str, ...], reserved: frozenset[str], scheme: Scheme = UNDERSCORES) -> tuple[str, ...]:
    """Return the label names as the page shows them: all different, none of them `reserved`, in the form of `scheme`.

    A name that is taken, by us, by Prometheus (`__name__`) or by another label, gets `exported_` in front, as often as
    needed. In the form allow-utf-8 a name may need quotes.
    """
    taken = set(reserved)
    taken.update(name for name in names if is_classic(name))
    published = []
    for name in names:
        wanted = name
        if name in reserved or not is_classic(name):
            wanted = _escaped(name, scheme)
            while wanted in taken or not _may_be(wanted, scheme):
                wanted = f"exported_{wanted}"
            taken.add(wanted)
        published.append(wanted)
    return tuple(published)


def possible_keys(key: Key, reserved: frozenset[str] = RESERVED) -> list[Key]:
    """Return the labels of a series as a server may have them, by the form in which it scrapes us, in order of names.

    The first is that of Prometheus 3; mostly it is the only one. A label without a value is no label.
    """
    present = [(name, value) for name, value in key if value]
    names = tuple(name for name, _ in present)
    schemes = SCHEMES if not all_classic((key,)) else SCHEMES[:1]
    shown = [published_names(names, reserved, scheme) for scheme in schemes]
    return list(dict.fromkeys(tuple(sorted(zip(each, (value for _, value in present), strict=True))) for each in shown))


def _escaped(name: str, scheme: Scheme) -> str:
    utf8 = name.encode("utf-8", "replace").decode()  # half of a surrogate pair becomes a question mark
    if scheme == ALLOW_UTF8 or _LEGACY.fullmatch(utf8):
        return utf8 or "_"
    # The library takes a name that ends in a line break for a plain one, and returns it as it is.
    return _STRANGE.sub("_", escape_label_name(utf8, scheme)) or "_"


def _may_be(name: str, scheme: Scheme) -> bool:
    return is_classic(name) or (scheme == ALLOW_UTF8 and not name.startswith("__"))
