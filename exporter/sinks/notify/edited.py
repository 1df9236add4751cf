"""One message for each incident, which is edited as the incident goes on and ends."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import structlog

from exporter.sinks.notify import pictures
from exporter.sinks.notify.http_post import PostFailed
from exporter.sinks.notify.joined import by_joint
from exporter.sinks.notify.notification import Incident, PendingNotifications
from exporter.sinks.notify.pictures import Pictures
from exporter.sinks.notify.posts import ESCAPES, Post, content, section
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
PUT_OFF: Final = 120.0
"""Seconds until an edit is tried again that Slack refused for a reason we do not know,"""
MOST_REFUSALS: Final = 5
"""and how often it is tried."""
_MOST_EDITS: Final = 20


class EditedMessages(Receiver):
    """Keeps one message for each incident up to date.

    More incidents at once than the rate limit lets through share one message. A message is never posted again: after a
    restart it is edited on. One that cannot be edited any more, because somebody has deleted it, is given up; the end
    of its incident is then a message of its own. A picture follows its message, and never delays it.
    """

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self._name, lambda: self._channel)

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
        put_off = min(post.not_before - now, PUT_OFF)  # a clock may have been set back
        return max(min(waits), put_off, 0.0) if waits else None

    def _text_wait(self, post: Post, now: float) -> float | None:
        told = post.state()
        if [over for _, over in told] != [over for _, over in post.shown]:
            return 0.0
        if told != post.shown:
            return min(max(post.edited + EDIT_EVERY - now, 0.0), EDIT_EVERY)  # as above
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
            self._post_new()
            for post in due[:_MOST_EDITS]:
                self._keep_up(post)
        except PostFailed as error:
            self._failed(error)
        else:
            self._well()
        self._save(self._waiting())

    def _absorb(self, joined: Sequence[Incident]) -> None:
        """Let the message on a joint incident tell of those that have joined it too."""
        for each in joined:
            post = next((post for post in self._state.posts if each.joint in {m.joint for m in post.members}), None)
            if post is not None:
                post.members.append(each)
                post.shown.append((None, None))
        super()._absorb(joined)

    def _post_new(self) -> None:
        """Post what no message tells yet, as far as the rate limit allows. Raises PostFailed."""
        pending = self._state.without_posts()
        opened = [each for incidents in pending.opened.values() for each in incidents]
        if not pending.size or self._limited() > 0:
            return
        allowed = self.settings.most - len(self._sent(time.time()))
        self._note_companions(pending)
        several, alone = by_joint(pending.opened)
        batches = [*several, *([each] for incidents in alone.values() for each in incidents)]
        batches = batches if len(batches) <= allowed else [opened]
        posts = [post for batch in batches if (post := self._posted(batch)) is not None]
        for post in posts:
            self._pictures.upload(post)
        rest = PendingNotifications({}, pending.over, pending.passed, {}, {}, pending.limits)
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
        """Edit a message; one that Slack refuses for a reason of its own holds up no other. Raises PostFailed."""
        try:
            self._bring_up(post)
        except SlackRefused as error:
            if not error.is_odd:
                raise
            self._count("failed")
            post.refused, post.not_before = post.refused + 1, time.time() + PUT_OFF
            if post.refused >= MOST_REFUSALS:
                self._give_up(post, error)

    def _give_up(self, post: Post, error: SlackRefused) -> None:
        hint = "the end of its incident will be a message of its own"
        log.warning("message_gone", receiver=self._name, error=str(error), hint=hint)
        self._state.posts.remove(post)

    def _bring_up(self, post: Post) -> None:
        """Edit a message, with the picture that has become usable. Raises PostFailed."""
        now = time.time()
        if post.coming and post.due <= now:
            self._show_picture(post, now)
        if self._text_wait(post, now) == 0:
            if not self._edit_anyway(post):
                return
            if post.is_over or now - post.pictured >= PICTURE_EVERY:
                self._pictures.upload(post)
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
            if error.unwanted and post.tries + 1 < len(pictures.USABLE_AFTER):
                post.coming, post.tries = coming, post.tries + 1
                post.due = now + pictures.USABLE_AFTER[post.tries]
                return
            if not error.unwanted:
                post.coming = coming
                raise
            self._pictures.refused(error)
        except PostFailed:
            post.coming, post.picture = post.picture, before
            raise
        else:
            self._pictures.remove(before)

    def _edit_anyway(self, post: Post) -> bool:
        """Edit a message, without its picture if that is not there any more. Raises PostFailed."""
        try:
            return self._edit(post)
        except SlackRefused as error:
            if not (error.unwanted and post.picture):
                raise
            self._pictures.refused(error)
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
                self._give_up(post, error)
                return False
            if not error.unwanted or post.picture:
                raise
            self._failed(error)  # it would be refused again and again
        else:
            self._note_change(post, told)
        post.refused = 0
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
