"""`--output`: the results of a command for people, or for programs."""

import inspect
import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import wraps
from typing import Annotated, Any, Literal

import typer

Output = Annotated[
    Literal["table", "json", "yaml"] | None,
    typer.Option("--output", "-o", help="table is for people, json and yaml are for programs."),
]


def with_output(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that knows `--json` the option `--output` as well."""

    @wraps(command)
    def chosen(*args: Any, output: str | None = None, **options: Any) -> None:
        if output is not None:
            options["json"] = output != "table"
        if output != "yaml":
            return command(*args, **options)
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                command(*args, **options)
        finally:
            typer.echo(as_yaml(_documents(printed.getvalue())), nl=False)
        return None

    known = inspect.signature(command)
    option = inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Output)
    chosen.__signature__ = known.replace(parameters=[*known.parameters.values(), option])  # type: ignore[attr-defined]
    chosen.__annotations__ = {**command.__annotations__, "output": Output}
    return chosen


def as_yaml(documents: list[Any]) -> str:
    """Return documents as YAML, with a line between them."""
    import yaml

    return yaml.safe_dump_all(documents, allow_unicode=True, sort_keys=False) if documents else ""


def printed(found: Any, output: str) -> None:
    """Print a result as JSON or YAML."""
    typer.echo(json.dumps(found, indent=2) + "\n" if output == "json" else as_yaml([found]), nl=False)


def _documents(text: str) -> list[Any]:
    return list(_each(text))


def _each(text: str) -> Iterator[Any]:
    """Yield one JSON value after the other."""
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        found, at = decoder.raw_decode(text, at)
        yield found
