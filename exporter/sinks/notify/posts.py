"""A message that is edited as its incidents go on and end, and what Slack shows of it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from exporter.sinks.notify.message import compose, labels_told
from exporter.sinks.notify.notification import Incident, PendingNotifications

_LONGEST: Final = 2900
"""Characters of a block of text; Slack takes 3,000."""
ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""What Slack reads <…> as: a link, or a call to everybody."""


class Post(msgspec.Struct):
    """A message that is edited as its incidents go on and end. Times are Unix seconds."""

    channel: str
    ts: str
    """What Slack calls the message."""
    members: list[Incident]
    """Its incidents; a message of many that opened at once has several."""
    edited: float
    """When it was last edited."""
    judged: float
    """Time of the newest verdict that it tells of."""
    shown: list[tuple[float | None, float | None]] = []
    """Of each member, the time of the worst reading and of the end that the message tells."""
    picture: str = ""
    """ID of the picture it shows."""
    pictured: float = 0.0
    """When the newest picture was uploaded."""
    coming: str = ""
    """ID of a picture that was uploaded and is not shown yet."""
    tries: int = 0
    """How often it was tried to show it."""
    due: float = 0.0
    """When it is tried next."""

    refused: int = 0
    """How often in a row Slack has refused to edit it for a reason we do not know."""
    not_before: float = 0.0
    """When that is tried again."""

    def state(self) -> list[tuple[float | None, float | None]]:
        """Return what `shown` would be for a message of now."""
        return [(each.at, each.over) for each in self.members]

    @property
    def is_over(self) -> bool:
        """Whether all of its incidents have ended."""
        return all(each.over is not None for each in self.members)


def content(post: Post, entities: Mapping[str, int], page: str, other: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a message for those who see no more, and its blocks.

    Parameters
    ----------
    post : Post
    entities : mapping of str to int
        Entities by job.
    page, other : str
        Address of the incident's page, and another one; "" for none.
    """
    opened: dict[str, list[Incident]] = {}
    over: dict[str, list[Incident]] = {}
    for each in post.members:
        (opened if each.over is None else over).setdefault(each.job, []).append(each)
    open_now = {job: len(incidents) for job, incidents in opened.items()}
    text = compose(PendingNotifications(opened, over, {}, open_now, dict(entities)), "", time.time())
    blocks = [section(f"{'🔴' if opened else '🟢'} {text}")]
    if post.picture:
        shown = {"slack_file": {"id": post.picture}, "alt_text": alt(worst(post.members))[:1900]}
        blocks.append({"type": "image", **shown})
    if links := [_link(address, name) for address, name in ((page, "the incident"), (other, "more")) if address]:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(links)}]})
    return text.translate(ESCAPES), blocks


def section(text: str) -> dict[str, Any]:
    """Return a block of plain text: no label in it becomes a call to everybody, a link or an emoji."""
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return {"type": "section", "text": {"type": "plain_text", "text": shown, "emoji": False}}


def _link(address: str, name: str) -> str:
    return f"<{address.replace('|', '%7C').translate(ESCAPES)}|{name}>"


def worst(members: Sequence[Incident]) -> Incident:
    """Return the incident that the picture of a message shows: the most severe of those that are open."""
    return max(members, key=lambda each: (each.over is None, each.severity or 0.0))


def alt(incident: Incident) -> str:
    """Return what a picture shows, for those who do not see it."""
    return f"value, what was normal and the incident of {labels_told(incident)} in {incident.job}"
