"""Hook of mkdocs: a link out of docs/ works in the repository; on the site it becomes the name of the file."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with links such as `[example](../examples/anomaly.yml)` as plain text."""
    return re.sub(r"\[([^\]]+)\]\(\.\./(?!\w+\.md)[^)]*\)", r"\1", markdown).replace("](../README.md)", "](index.md)")
