"""Reading a YAML or JSON file that a person wrote: whatever is wrong with it becomes one clear mistake."""

import json
import re
import stat
from pathlib import Path
from typing import Final

import yaml

from exporter.config.errors import ConfigError, Mistake
from exporter.config.nodes import Node, Origin
from exporter.config.yaml_nodes import Document

MAX_BYTES: Final = 2**20
_CONTROL: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_WORDS: Final = {
    "mapping values are not allowed": "a second ': ' in one value; put the value in quotes",
    "found character that cannot start any token": "a value begins with a reserved character; put it in quotes",
    "found unexpected end of stream": "a quote is never closed",
    "did not find expected node content": "a list or mapping in brackets is never closed, or has two commas in a row",
    "did not find expected ',' or ']'": "a list in brackets lacks a comma or its closing ]",
    "did not find expected ',' or '}'": "a mapping in braces lacks a comma or its closing }",
    "could not find expected ':'": "a line is neither 'key: value' nor part of one",
    "did not find expected key": "the indentation does not match the lines before",
    "did not find expected '-' indicator": "a list and keys are mixed at the same indentation",
}


def read(path: Path, may_be_empty: bool = False) -> tuple[Node, list[Mistake]]:
    """Read a file. Returns its root and mistakes that do not stop the reading; raises ConfigError for those that do."""
    file = str(path)
    text = _text(path)
    root, mistakes = parse(text, file)
    if may_be_empty and (root is None or root.value is None):
        return Node({}, Origin(file, 1)), mistakes
    if root is None or root.value is None:
        raise ConfigError(Mistake(file, None, (), "the file is empty; it needs jobs at least"))
    if not isinstance(root.value, dict):
        message = "must be keys with values, such as 'jobs:', not a list or a single value"
        raise ConfigError(Mistake(file, root.origin.line, (), message))
    return root, mistakes


def parse(text: str, source: str) -> tuple[Node | None, list[Mistake]]:
    """Turn one YAML or JSON document into nodes, as `read` does. The root is None when the document is empty."""
    document = Document(text, source)
    try:
        return document.root(), document.mistakes
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: impossible escapes, without libyaml
        line, message = _explain(error, text)
        raise ConfigError(Mistake(source, line, (), message)) from None


def _text(path: Path) -> str:
    file = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(Mistake(file, None, (), "is a folder; name the configuration file in it"))
        if not stat.S_ISREG(mode):
            raise ConfigError(Mistake(file, None, (), "is a pipe or device; a configuration must be a file"))
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(Mistake(file, None, (), "there is no such file")) from None
    except ValueError:
        raise ConfigError(Mistake(file, None, (), "the path holds a NUL character")) from None
    except OSError as error:
        raise ConfigError(Mistake(file, None, (), f"cannot be read: {error.strerror}")) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(Mistake(file, None, (), "is larger than 1 MiB; is it really the configuration?"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ConfigError(Mistake(file, line, (), message)) from None


def _explain(error: Exception, text: str) -> tuple[int | None, str]:
    if text.lstrip().startswith("{"):
        try:
            json.loads(text)
        except json.JSONDecodeError as fault:
            return fault.lineno, f"neither JSON nor YAML: {fault.msg[0].lower()}{fault.msg[1:]} at column {fault.colno}"
        except (RecursionError, ValueError):  # numbers of more than 4,300 digits, deep nesting: YAML's words will do
            pass
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        found = _CONTROL.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else None
        return line, "holds a control character that YAML does not allow"
    number = error.problem_mark.line
    lines = text.rstrip().split("\n")
    if number >= len(lines) and error.context_mark is not None:  # report where it began, not where the file ended
        number = error.context_mark.line
    indent = re.match(r"\s*", lines[min(number, len(lines) - 1)])
    problem = error.problem or "it cannot be read"
    if indent and "\t" in indent[0]:
        problem = "the line is indented with a tab; use spaces"
    problem = next((plain for start, plain in _PLAIN_WORDS.items() if problem.startswith(start)), problem)
    return number + 1, f"not valid YAML: {problem}"
