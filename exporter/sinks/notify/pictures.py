"""Pictures on their way into a message that is edited: uploaded, shown once Slack can, and removed."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from exporter.sinks.notify.http_post import PostFailed
from exporter.sinks.notify.posts import Post, alt, worst
from exporter.sinks.notify.slack_api import SlackChannel

log = structlog.get_logger()

USABLE_AFTER: Final = (2.0, 3.0, 6.0, 12.0, 30.0)
"""Seconds that Slack gets to make an uploaded picture usable, from one try to the next."""
_NONE_FOR: Final = 3600.0
"""Seconds for which no picture is uploaded after Slack has refused one for good."""
_LEAST_PAUSE: Final = 60.0


class Pictures:
    """Uploads and removes pictures. Whatever goes wrong, messages go on without them.

    Parameters
    ----------
    receiver : str
        For logs.
    channel : callable returning SlackChannel
    """

    def __init__(self, receiver: str, channel: Callable[[], SlackChannel]) -> None:
        self._receiver, self._channel = receiver, channel
        self._not_before, self._trouble = 0.0, ""

    def upload(self, post: Post) -> None:
        """Upload a picture for a message, which shows it later."""
        now = time.time()
        if now < self._not_before:
            return
        shown = worst(post.members)
        try:
            coming = self._channel().upload(shown, alt(shown))
        except PostFailed as error:
            self.refused(error)
            return
        if coming:
            self.remove(post.coming)
            post.coming, post.tries, post.pictured, post.due = coming, 0, now, now + USABLE_AFTER[0]

    def refused(self, error: PostFailed) -> None:
        """Log each cause once, and do not try again too soon."""
        self._not_before = time.time() + (_NONE_FOR if error.lasting else max(error.wait or 0.0, _LEAST_PAUSE))
        if str(error) != self._trouble:
            self._trouble = str(error)
            hint = "messages go on without pictures; notify.slack_app.pictures: false leaves them out"
            log.warning("picture_not_sent", receiver=self._receiver, error=str(error), hint=hint)

    def remove(self, file: str) -> None:
        """Delete a picture that no message shows any more."""
        if file:
            try:
                self._channel().remove(file)
            except PostFailed as error:
                log.debug("picture_not_removed", receiver=self._receiver, error=str(error))
