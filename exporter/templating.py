"""HTML pages from Jinja2 templates: every value that a template inserts is escaped."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter.redact import printable


def environment(package: str) -> Environment:
    """Return the environment for the templates in the folder `templates` of `package`.

    A value is escaped, and its unprintable characters are replaced, unless it is `Markup`. A name that a template uses
    but nobody passed raises `jinja2.UndefinedError`; it does not render as nothing.

    >>> environment("exporter.report").from_string('<p title="{{ text }}">').render(text='">')
    '<p title="&#34;&gt;">'
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalized(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
