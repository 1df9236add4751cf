"""The computed tables of the docs: `python -m exporter.config.reference`.

Those of docs/configuration.md are computed from the models, the judged series of docs/metrics.md from `families`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from exporter import families
from exporter.config.legacy import FlatConfig
from exporter.config.secrets import Secret
from exporter.config.sections.alerting import TimeInterval
from exporter.config.sections.calendars import CalendarConfig, span_of_days
from exporter.config.sections.job import JobDefaults, switched
from exporter.config.sections.remote_write import one_or_more
from exporter.config.sections.root import Config
from exporter.config.values import duration, duration_or_auto, format_size, rate_per_week, shown, size
from exporter.promql import format_duration

BEGIN: Final = "<!-- computed by python -m exporter.config.reference: begin -->"
END: Final = "<!-- computed: end -->"
PAGE: Final = Path(__file__).parents[2] / "docs" / "configuration.md"
METRICS: Final = PAGE.with_name("metrics.md")

_SPELLED: Final = {
    "defaults": "keys of `jobs.NAME` but `expr` and `channels`",
    "jobs.NAME.detector": "name, or parameters by name",
    "models.options": "values or references to secrets, by name",
    "notify.slack": "reference to a secret",
}
_UNITS: Final = {
    duration: "duration",
    duration_or_auto: "duration or `auto`",
    rate_per_week: "rate",
    size: "size",
    span_of_days: "day or span of days",
}
_WORDS: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Secret: "reference to a secret",
    SecretStr: "text",
    TimeInterval: "keys of `alerting.time_intervals.NAME`",
    CalendarConfig: "keys of `calendars.NAME`",
}


def tables() -> str:
    """Return the tables of all sections and of the original flat file, as Markdown."""
    lines = list(_section("Top level", Config, ""))
    for title, model, prefix in _sections(Config, ""):
        lines += _section(title, model, prefix)
    lines += _section("The original flat file", FlatConfig, "")
    return "\n".join(lines).strip()


def defaults() -> Iterator[tuple[str, str]]:
    """Yield the path and the default, as Markdown, of every key that has one; of a key in two places the first."""
    top: tuple[str, type[BaseModel], str] = ("", Config, "")
    for _, model, prefix in (top, *_sections(Config, "")):
        for key, info in _keys(model):
            if not prefix.startswith("jobs.NAME.drift_detection") and (text := _default(info)) not in {"", "required"}:
                yield f"{prefix}{key}", text


def rewrite(page: str, computed: str | None = None) -> str:
    """Return the page with what is `computed` between its markers: by default the tables of the configuration."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables() if computed is None else computed}\n\n{END}{tail}"


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel], str]]:
    for key, info in _keys(model):
        inner, many = _inner(info.annotation)
        if inner is not None and inner is not JobDefaults:  # a table like that of a job
            path = f"{prefix}{key}.NAME" if many else f"{prefix}{key}"
            yield f"`{path}`", inner, f"{path}."
            yield from _sections(inner, f"{path}.")


def _section(title: str, model: type[BaseModel], prefix: str) -> Iterator[str]:
    intro = (model.__doc__ or "").partition("\n")[0]
    yield from ("", f"### {title}", "", intro, "", "| key | type | default | meaning |", "| --- | --- | --- | --- |")
    for key, info in _keys(model):
        inner, many = _inner(info.annotation)
        name = f"{prefix}{key}{'.NAME' if many else ''}"
        kind = _SPELLED.get(f"{prefix}{key}")
        if kind is None:
            kind = _type(info.annotation, tuple(info.metadata)) if inner is None else f"see `{name}`"
            read_by = {item.func for item in info.metadata if isinstance(item, BeforeValidator)}
            if switched in read_by:
                kind = f"true, false or {kind}"
            if one_or_more in read_by:
                kind = f"{kind}, or a list of these"
        yield _row(key, kind, _default(info), info.description)


def _row(key: str, kind: str, default: str, text: str | None) -> str:
    cells = (f"`{key}`", kind, default, text or "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _keys(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(info.alias or name, info) for name, info in model.model_fields.items()]


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the section behind an annotation, if it is one, and whether there are many of them by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Secret:
        return annotation, False
    if get_origin(annotation) is dict:
        return _inner(get_args(annotation)[1])[0], True
    if get_origin(annotation) is tuple and get_args(annotation)[0] not in _WORDS:
        return _inner(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _inner(kinds[0]) if len(kinds) == 1 else (None, False)
    return None, False


def _type(annotation: Any, metadata: tuple[Any, ...]) -> str:
    if unit := _unit(metadata):
        return unit
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        text = _type(arguments[0], arguments[1:])
    elif origin is Literal:
        text = ", ".join(f"`{choice}`" for choice in arguments)
    elif origin is dict:
        text = f"{_type(arguments[1], ())}, by name"
    elif origin in {tuple, frozenset}:
        text = f"list of {_type(arguments[0], ())}"
    elif origin in {Union, UnionType}:
        text = " or ".join(dict.fromkeys(_type(kind, ()) for kind in arguments if kind is not type(None)))
    else:
        text = _WORDS[annotation]
    return text


def _unit(metadata: tuple[Any, ...]) -> str | None:
    return next(
        (_UNITS[item.func] for item in metadata if isinstance(item, BeforeValidator) and item.func in _UNITS), None
    )


def _default(info: FieldInfo) -> str:
    value = info.default
    if info.is_required():
        return "required"
    if value is None or value in ({}, ()) or isinstance(value, BaseModel):
        return ""
    kind = _unit(tuple(info.metadata))
    if kind == "duration":
        text = format_duration(value)
    elif kind == "size":
        text = format_size(value)
    elif kind == "rate":
        text = f"{value:g} per week"
    elif isinstance(value, frozenset):
        text = f"[{', '.join(sorted(value))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {each}' for key, each in value.items())}}}"
    else:
        text = f"{value:g}" if isinstance(value, float) else shown(value).strip("'")
    return f"`{text}`"


def main() -> None:
    """Rewrite the page of the configuration that is named on the command line, or both pages of ours."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    page.write_text(rewrite(page.read_text(encoding="utf-8")), encoding="utf-8")
    if page == PAGE:
        METRICS.write_text(rewrite(METRICS.read_text(encoding="utf-8"), families.table()), encoding="utf-8")


if __name__ == "__main__":
    main()
