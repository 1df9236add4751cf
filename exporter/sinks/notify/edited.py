"""One message for each incident, which is edited as the incident goes on and ends."""

import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from exporter.sinks.notify.http_post import PostFailed
from exporter.sinks.notify.notification import Incident, PendingNotifications
from exporter.sinks.notify.posts import ESCAPES, Post, alt, content, section, worst
from exporter.sinks.notify.receiver import Receiver
from exporter.sinks.notify.sent_log import What
from exporter.sinks.notify.slack_api import SlackChannel, SlackRefused

log = structlog.get_logger()

EDIT_EVERY: Final = 60.0
"""Seconds, at least, between two edits that tell a worse reading; an end is told at once."""
REFRESH_EVERY: Final = 900.0
"""Seconds of verdicts after which a message tells again how long its incident lasts."""
PICTURE_EVERY: Final = 300.0
"""Seconds, at least, between two pictures of one incident; the end has one of its own."""
USABLE_AFTER: Final = (2.0, 3.0, 6.0, 12.0, 30.0)
"""Seconds that Slack gets to make an uploaded picture usable, from one try to the next."""
_NO_PICTURES: Final = 3600.0
"""Seconds for which no picture is uploaded after Slack has refused one for good."""
_MOST_EDITS: Final = 20


class EditedMessages(Receiver):
    """Keeps one message for each incident up to date.

    More incidents at once than the rate limit lets through share one message. A message is never posted again: after a
    restart it is edited on. One that cannot be edited any more, because somebody has deleted it, is given up; the end
    of its incident is then a message of its own. A picture follows its message, and never delays it.
    """

    _no_pictures_until = 0.0
    _picture_trouble = ""

    def _pause(self) -> float | None:
        now = time.time()
        waits = [wait for post in self._state.posts if (wait := self._wait(post, now)) is not None]
        if self._state.without_posts().size:
            waits.append(self._limited())
        return max(self._not_before - time.monotonic(), min(waits), 0.0) if waits else None

    def _wait(self, post: Post, now: float) -> float | None:
        """Return the seconds until a message wants an edit, None when it wants none."""
        waits = [post.due - now] if post.coming else []
        text = self._text_wait(post, now)
        waits += [] if text is None else [text]
        return max(min(waits), 0.0) if waits else None

    def _text_wait(self, post: Post, now: float) -> float | None:
        told = post.state()
        if [over for _, over in told] != [over for _, over in post.shown]:
            return 0.0
        if told != post.shown:
            # A clock may have been set back.
            return min(max(post.edited + EDIT_EVERY - now, 0.0), EDIT_EVERY)
        is_long = self._state.judged({each.job for each in post.members}) - post.judged >= REFRESH_EVERY
        return 0.0 if is_long and not post.is_over else None

    def _waiting(self) -> int:
        now = time.time()
        edits = sum(self._text_wait(post, now) is not None for post in self._state.posts)
        return self._state.without_posts().size + edits

    def _send(self) -> None:
        try:
            now = time.time()
            due = [post for post in self._state.posts if self._wait(post, now) == 0]
            for post in due[:_MOST_EDITS]:
                self._keep_up(post)
            self._post_new()
        except PostFailed as error:
            self._failed(error)
        else:
            self._well()
        self._save(self._waiting())

    def _post_new(self) -> None:
        """Post what no message tells yet, as far as the rate limit allows. Raises PostFailed."""
        pending = self._state.without_posts()
        opened = [each for incidents in pending.opened.values() for each in incidents]
        if not pending.size or self._limited() > 0:
            return
        allowed = self.settings.most - len(self._sent(time.time()))
        batches = [[each] for each in opened] if len(opened) <= allowed else [opened]
        posts = [post for batch in batches if (post := self._posted(batch)) is not None]
        for post in posts:
            self._upload(post)
        rest = PendingNotifications({}, pending.over, pending.passed, {}, {})
        if rest.size and self._limited() <= 0:
            text = self._text(rest)
            self._deliver(lambda: self._channel.post(text.translate(ESCAPES), [section(text)]))
            self._tell_page(rest)
            self._state.mark_sent(rest)

    def _posted(self, batch: list[Incident]) -> Post | None:
        """Post a message on incidents that have just opened; None if it was refused. Raises PostFailed."""
        by_job: dict[str, list[Incident]] = {}
        for each in batch:
            by_job.setdefault(each.job, []).append(each)
        post = Post("", "", batch, time.time(), self._state.judged(by_job))
        post.shown = post.state()
        text, blocks = self._content(post)
        found = self._deliver(lambda: self._channel.post(text, blocks))
        self._state.mark_sent(PendingNotifications(by_job, {}, {}, {}, {}))
        if found is None:
            return None
        post.channel, post.ts = found
        self._told.note(self._name, "beginning", batch, time.time())
        self._state.posts.append(post)
        self._save(self._waiting())  # at once: a restart must not post it again
        return post

    def _deliver(self, post: Callable[[], tuple[str, str]]) -> tuple[str, str] | None:
        """Post a message; None if Slack will never take it. Raises PostFailed where it may later."""
        try:
            found = post()
        except PostFailed as error:
            if not error.unwanted:
                raise
            self._failed(error)
            found = None
        else:
            self._arrived()
        self._note_sent()
        return found

    def _keep_up(self, post: Post) -> None:
        """Edit a message, with the picture that has become usable. Raises PostFailed."""
        now = time.time()
        if post.coming and post.due <= now:
            self._show_picture(post, now)
        if self._text_wait(post, now) == 0:
            if not self._edit_anyway(post):
                return
            if post.is_over or now - post.pictured >= PICTURE_EVERY:
                self._upload(post)
        if post.is_over and not post.coming and post in self._state.posts:
            self._state.posts.remove(post)

    def _show_picture(self, post: Post, now: float) -> None:
        """Let a message show the picture that was uploaded, if Slack has made it usable by now. Raises PostFailed."""
        before, post.picture, post.coming = post.picture, post.coming, ""
        try:
            if not self._edit(post):
                return
        except SlackRefused as error:
            coming, post.picture = post.picture, before
            if error.unwanted and post.tries + 1 < len(USABLE_AFTER):
                post.coming, post.tries = coming, post.tries + 1
                post.due = now + USABLE_AFTER[post.tries]
                return
            if not error.unwanted:
                post.coming = coming
                raise
            self._no_picture(error)
        except PostFailed:
            post.coming, post.picture = post.picture, before
            raise
        else:
            self._remove(before)

    def _edit_anyway(self, post: Post) -> bool:
        """Edit a message, without its picture if that is not there any more. Raises PostFailed."""
        try:
            return self._edit(post)
        except SlackRefused as error:
            if not (error.unwanted and post.picture):
                raise
            self._no_picture(error)
        post.picture = ""
        return self._edit(post)

    def _edit(self, post: Post) -> bool:
        """Edit a message; False if it cannot be edited any more. Raises PostFailed."""
        text, blocks = self._content(post)
        told, judged = post.state(), self._state.judged({each.job for each in post.members})
        try:
            self._channel.edit(post.channel, post.ts, text, blocks)
        except SlackRefused as error:
            if error.is_gone:
                hint = "the end of its incident will be a message of its own"
                log.warning("message_gone", receiver=self._name, error=str(error), hint=hint)
                self._state.posts.remove(post)
                return False
            if not error.unwanted or post.picture:
                raise
            self._failed(error)  # it would be refused again and again
        else:
            self._note_change(post, told)
        post.shown, post.edited, post.judged = told, time.time(), judged
        self._state.mark_ended(post)
        self._save(self._waiting())
        return True

    def _note_change(self, post: Post, told: list[tuple[float | None, float | None]]) -> None:
        """Note for the pages of incidents which of them an edit tells anew."""
        for each, before, now in zip(post.members, post.shown, told, strict=True):
            if before != now:
                what: What = "end" if now[1] is not None and before[1] is None else "change"
                self._told.note(self._name, what, [each], time.time())

    def _upload(self, post: Post) -> None:
        """Upload a picture for a message; without one it stays as it is."""
        now = time.time()
        if now < self._no_pictures_until:
            return
        shown = worst(post.members)
        try:
            coming = self._channel.upload(shown, alt(shown))
        except PostFailed as error:
            self._no_picture(error)
            return
        if coming:
            self._remove(post.coming)
            post.coming, post.tries, post.pictured, post.due = coming, 0, now, now + USABLE_AFTER[0]

    def _no_picture(self, error: PostFailed) -> None:
        """Log each cause once, and do not try again too soon."""
        self._no_pictures_until = time.time() + (_NO_PICTURES if error.lasting else max(error.wait or 0.0, 60.0))
        if str(error) != self._picture_trouble:
            self._picture_trouble = str(error)
            hint = "messages go on without pictures; notify.slack_app.pictures: false leaves them out"
            log.warning("picture_not_sent", receiver=self._name, error=str(error), hint=hint)

    def _remove(self, file: str) -> None:
        if file:
            try:
                self._channel.remove(file)
            except PostFailed as error:
                log.debug("picture_not_removed", receiver=self._name, error=str(error))

    def _content(self, post: Post) -> tuple[str, list[dict[str, Any]]]:
        """Return the text of a message for those who see no more, and its blocks."""
        entities, links = self._state.pending().entities, self._links
        page = links.incident(post.members[0]) if len(post.members) == 1 else ""
        return content(post, entities, page, links.chosen() or ("" if page else links.home()))

    @property
    def _channel(self) -> SlackChannel:
        channel = self.settings.channel
        assert channel is not None
        return channel
