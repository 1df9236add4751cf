"""From objects with placeholders to templates: what another setting takes away or adds stands within a condition."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, Final

import yaml

from deploy.kubernetes.objects import Object, objects
from deploy.kubernetes.settings import Settings

Key = tuple[str, str]
Line = tuple[str, tuple[str, ...]]
_MARK: Final = re.compile(r"x[A-Z]+x")


class Number(str):
    """A placeholder that becomes a number, not text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting that changes which lines there are.

    Parameters
    ----------
    change : mapping
        Fields of Settings: what makes the difference.
    kept : str
        The template's condition (or range) under which the lines without the change stand.
    changed : str
        That for the lines with it; empty where there must be none.
    """

    change: Mapping[str, Any]
    kept: str
    changed: str = ""

    def applied(self, settings: Settings) -> Settings:
        """Return the settings with the change."""
        return replace(settings, **self.change)


_BASE: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BASE):  # type: ignore[misc]  # libyaml is six times as fast, and not everywhere
    """Quotes text with a placeholder, whatever it becomes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _MARK.search(text) else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Number, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text)))


def templates(full: Settings, flags: Sequence[Flag]) -> dict[Key, list[str]]:
    """Return the lines of a template for every object that there is with `full`, or after one of the changes.

    Every flag is looked at alone, so what two of them do together must follow from what each does.
    """
    made: dict[Key, list[str]] = {}
    for origin in (None, *flags):
        settings = full if origin is None else origin.applied(full)
        new = {key: text for key, text in _texts(settings).items() if key not in made}
        variants = [(flag, _texts(flag.applied(settings))) for flag in flags if new and flag is not origin]
        for key, text in new.items():
            outer = () if origin is None else (origin.changed,)
            lines = _guarded(text, [(flag, texts.get(key, [])) for flag, texts in variants])
            made[key] = list(_nested((line, (*outer, *within)) for line, within in lines))
    return made


def _texts(settings: Settings) -> dict[Key, list[str]]:
    return {(made["kind"], made["metadata"]["name"]): _dump(made) for made in objects(settings)}


def _dump(made: Object) -> list[str]:
    return ["---", *yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**30).splitlines()]


def _guarded(text: list[str], variants: Iterable[tuple[Flag, list[str]]]) -> Iterator[Line]:
    """Yield the lines of all variants, each with the conditions it stands within."""
    within: list[tuple[str, ...]] = [()] * len(text)
    added: list[tuple[slice, str, list[str]]] = []
    for flag, variant in variants:
        matcher = SequenceMatcher(None, text, variant, autojunk=False)
        for what, first, last, start, stop in matcher.get_opcodes():
            if what == "equal":
                continue
            within[first:last] = [(*conditions, flag.kept) for conditions in within[first:last]]
            if start < stop:
                assert flag.changed, f"{flag} adds {variant[start:stop]}, and has no condition for that"
                # What surrounds an insertion, or what is replaced, says what else the new lines depend on.
                around = slice(first, last) if first < last else slice(max(first - 1, 0), first + 1)
                added.append((around, flag.kept, [flag.changed, *variant[start:stop]]))
    new: dict[int, list[Line]] = {}
    for around, kept, (changed, *lines) in added:
        shared = [one for one in within[around.start] if all(one in other for other in within[around]) and one != kept]
        new.setdefault(around.stop if kept in within[around.start] else around.stop - 1, []).extend(
            (line, (*shared, changed)) for line in lines
        )
    for place, line in enumerate(text):
        yield from new.get(place, ())
        yield line, within[place]
    yield from new.get(len(text), ())


def _nested(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines with the conditions they are within opened and closed around them."""
    opened: tuple[str, ...] = ()
    turned = False  # the innermost block is an `else` already
    for line, within in (*lines, ("", ())):
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(opened, within, strict=False)))
        if not turned and same == len(opened) - 1 == len(within) - 1 and _opposite(opened[-1], within[-1]):
            yield "{{- else }}"
            turned = True
        elif opened != within:
            yield from ["{{- end }}"] * (len(opened) - same)
            yield from (f"{{{{- {condition} }}}}" for condition in within[same:])
            turned = False
        opened = within
        if line:
            yield line


def _opposite(one: str, other: str) -> bool:
    return one != other and one.replace("if not ", "if ") == other.replace("if not ", "if ")
