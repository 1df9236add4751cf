"""Settings of placeholders, what they become in a template, and which of them decide on lines."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from deploy.helm.guards import Flag, Number
from deploy.helm.values import VALUES, Value
from deploy.kubernetes.settings import Resources, Settings

_MARKS: Final = {f"x{re.sub('[^a-z]', '', value.setting).upper()}x": value for value in VALUES if value.setting}
_EXPRESSIONS: Final[Mapping[str, str]] = {
    "xNAMEx": 'include "anomaly-exporter.name" $',
    "xNAMESPACEx": "$.Release.Namespace",
    "xIMAGEx": 'include "anomaly-exporter.image" $',
    "xMANAGERx": "$.Release.Service",
    "xSECRETx": 'include "anomaly-exporter.secret" $',
    "xENVx": "$key",
    "xFOLDERx": "$files.folder",
    "xKEYx": "$key",
    "xSLUGx": "$rule.name",
}
"""What the placeholders become that are not simply a value."""
_BLOCKS: Final[Mapping[str, str]] = {
    "xCONFIGx": "$.Values.config",
    "xEGRESSx": "$.Values.networkPolicy.egress",
    "xGROUPSx": "$rule.groups",
    "xLABELSx": "$.Values.operator.labels",
}
"""What the placeholders become that stand for whole mappings and lists."""
_OPTIONAL: Final = (
    "profile",
    "restart_on",
    "models_path",
    "storage_class",
    "time_zone",
    "scrape_namespace",
    "scrape_secret",
)
"""Settings of which an empty text means that something is not there."""
_SECRET: Final = ("make_secret", "secret_env", "secret_files")
"""The Secret is there when it is ours and has keys of one kind or the other."""


def settings() -> Settings:
    """Return settings of placeholders, with everything that can be there."""
    fields: dict[str, Any] = {}
    parts: dict[str, dict[str, str]] = {}
    for mark, value in _MARKS.items():
        name, _, part = value.setting.partition(".")
        if part:
            parts.setdefault(name, {})[part] = mark
        elif value.schema.get("type") == "boolean":
            fields[name] = True
        else:
            fields[name] = Number(mark) if _number(value) else mark
    whole = {
        "namespace": "xNAMESPACEx",
        "image": "xIMAGEx",
        "managed_by": "xMANAGERx",
        "shards": 1,
        "client_certificates": False,
        "config": {"xCONFIGx": ""},
        "secret_env": ("xENVx",),
        "secret_files": ("xFOLDERx/xKEYx",),
        "egress": ({"xEGRESSx": ""},),
        "monitor_labels": {"xLABELSx": ""},
        "rules": {"xSLUGx": {"groups": {"xGROUPSx": ""}}},
    }
    if missing := set(Settings.__dataclass_fields__) - fields.keys() - parts.keys() - whole.keys():
        raise AssertionError(f"no value of the chart fills {', '.join(sorted(missing))}")
    return Settings(**{**fields, **{name: Resources(**part) for name, part in parts.items()}, **whole})


def flags() -> Iterator[Flag]:
    """Yield the settings that change which lines there are, those of whole objects first."""
    shards = f"(int {_given('shards')}) 1"
    yield _flag("operator", False)
    yield Flag({"rules": {}}, f"range $rule := {_given('rules')}")
    yield _flag("train", False)
    yield Flag({"make_secret": False}, "if and {} (or {} {})".format(*map(_given, _SECRET)))
    yield Flag({"shards": Number("xSHARDSx")}, f"if le {shards}", f"if gt {shards}")
    yield _flag("keep_state", False)
    yield Flag({"client_certificates": True}, _if("client_certificates", "if not"), _if("client_certificates"))
    yield Flag({"secret_env": ()}, f"range $key := {_given('secret_env')}")
    yield Flag({"secret_files": ()}, f"range $number, $files := {_given('secret_files')}")
    yield _flag("https", False)
    yield _flag("egress", ())
    yield _flag("monitor_labels", {})
    for name in _OPTIONAL:
        yield _flag(name, "")


def filled(lines: Sequence[str]) -> str:
    """Return the lines with expressions in place of the placeholders."""
    made = []
    for repeated, group in groupby(lines, key=lambda line: "xKEYx" in line):
        ends = ("{{- range $key := $files.keys }}", "{{- end }}") if repeated else ()
        made += [*ends[:1], *map(_filled, group), *ends[1:]]
    return "".join(f"{line}\n" for line in made)


def _filled(line: str) -> str:
    for mark, expression in _BLOCKS.items():
        if mark in line:
            return f"{{{{- toYaml {expression} | nindent {len(line) - len(line.lstrip())} }}}}"
    line = line.replace("secrets-0", "secrets-{{ $number }}")
    # The whole of a text, a part of one, and what stands without quotes: a number.
    line = re.sub(r'"(x[A-Z]+x)"', lambda found: f"{{{{ {_expression(found[1])} | quote }}}}", line)
    line = re.sub(r'"[^"]*"', lambda text: re.sub("x[A-Z]+x", _part, text[0]), line)
    return re.sub(r"\bx[A-Z]+x\b", _part, line)


def _part(found: re.Match[str]) -> str:
    number = "int " if found[0] in _MARKS and _number(_MARKS[found[0]]) else ""
    return f"{{{{ {number}{_expression(found[0])} }}}}"


def _expression(mark: str) -> str:
    return _EXPRESSIONS.get(mark) or f"$.Values.{_MARKS[mark].path}"


def _number(value: Value) -> bool:
    return value.schema.get("type") == "integer"


def _flag(setting: str, without: Any) -> Flag:
    return Flag({setting: without}, _if(setting), _if(setting, "if not"))


def _if(setting: str, word: str = "if") -> str:
    return f"{word} {_given(setting)}"


def _given(setting: str) -> str:
    [path] = [value.path for value in VALUES if value.setting == setting]
    return f"$.Values.{path}"
