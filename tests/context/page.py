"""Writes figures into a page of the documentation, between two comments."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write(page: Path, name: str, figures: str) -> None:
    """Replace what stands between the comments `name` and `end of name` of a page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    path = ROOT / page
    text = path.read_text("utf-8")
    made = f"{begin}\n{figures}\n{end}"
    path.write_text(re.sub(f"{begin}.*?{end}", lambda _: made, text, flags=re.DOTALL), "utf-8")
