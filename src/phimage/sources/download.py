"""One download into a work file: request after request until all bytes are here and proved."""

from __future__ import annotations

import threading
from collections.abc import Callable

from phimage.errors import PhimageError
from phimage.sources.answer import Answer, Version
from phimage.sources.digest import Expected
from phimage.sources.errors import SourceBroken
from phimage.sources.judge import HEAD, Limits, check_fields, check_head, check_max_size, check_min_size, check_status
from phimage.sources.partial import Partial
from phimage.sources.progress import Meter
from phimage.sources.space import EVERY, Room
from phimage.sources.url import Url
from phimage.sources.web import Web

Early = Callable[[bytes, int | None], None]
"""Is given the first MiB (all of a smaller file) and the size, once, before the rest is fetched. Raises to refuse."""


class Download:
    """A URL, the work file, what is expected of the bytes, and what was learned on the way."""

    def __init__(
        self,
        web: Web,
        limits: Limits,
        room: Room,
        url: Url,
        partial: Partial,
        expected: Expected,
        early: Early | None,
        meter: Meter,
        cancel: threading.Event,
    ) -> None:
        self._web = web
        self._limits = limits
        self._room = room
        self._url = url
        self._partial = partial
        self._expected = expected
        self._early = early
        self._meter = meter
        self._cancel = cancel
        self._judged = False

    def run(self) -> None:
        """Fetch until all is here and proved. Raises SourceBroken when the same call would go on."""
        partial = self._partial
        if partial.offset >= HEAD:
            self._judge()
        while not partial.whole:
            self._request()
        self._judge()
        self._meter.end(partial.offset, partial.size)
        self._or_discard(lambda: self._expected.check(self._url.shown, partial.digests(), partial.offset))

    def _request(self) -> None:
        """One request, and what it brings. Without a version to hold on to, and after another one, it begins from zero."""
        partial = self._partial
        resuming = partial.offset > 0 and partial.version.known
        fields = {"Range": f"bytes={partial.offset}-", "If-Range": partial.version.condition} if resuming else {}
        with self._web.get(self._url, fields, downgrade=self._expected.known, cancel=self._cancel) as answer:
            if resuming and not self._continues(answer):
                partial.begin(None, Version())
                return
            check_status(answer)
            size, end = self._told(answer, resuming)
            self._check(answer, size)
            if answer.status == 206:
                partial.size = size
            else:
                partial.begin(size, answer.version)
            self._receive(answer, end)

    def _continues(self, answer: Answer) -> bool:
        """Whether an answer to a request for the rest can be used: as the rest, or as a new beginning."""
        if answer.status != 206:
            return answer.status != 416
        found = answer.range()
        if found is None or found[0] != self._partial.offset or self._partial.version.differs(answer.version):
            return False
        return found[2] is not None and self._partial.size in (None, found[2])

    def _told(self, answer: Answer, resuming: bool) -> tuple[int | None, int | None]:
        """The size of the whole, and where in the whole the body ends, as far as the header tells."""
        if answer.status != 206:
            return answer.length(), answer.length()
        found = answer.range()
        if found is None or not resuming:
            raise answer.refused("it sends a part without being asked", "tell the owner of the server", reason="range")
        return found[2], found[1] + 1

    def _check(self, answer: Answer, size: int | None) -> None:
        """Check what the header tells. That it was cut off shows when no body follows, so little is believed before."""
        if size is not None:
            check_max_size(self._url.shown, size, self._limits)
        self._room.check(self._url.shown, (size or EVERY) - self._partial.offset)
        answer.check_begun()
        check_fields(answer)
        if size is not None:
            check_min_size(self._url.shown, size, self._limits)
        elif not (answer.chunked or self._expected.known):
            told = "nobody tells how many bytes it has, so a part of it would pass for the whole"
            raise answer.refused(told, "give its digest", reason="size")

    def _receive(self, answer: Answer, end: int | None) -> None:
        """Take the body, which ends at this place of the file. Raises SourceBroken when it ends elsewhere."""
        partial = self._partial
        safe = partial.offset
        while data := answer.read():
            partial.write(data)
            if end is not None and partial.offset > end:
                partial.discard()
                raise answer.refused("it sends more bytes than it told", "tell the owner of the server", reason="size")
            if partial.offset > self._limits.max_size:
                self._or_discard(lambda: check_max_size(self._url.shown, partial.offset, self._limits))
            if partial.offset >= HEAD:
                self._judge()
            if partial.offset - safe >= EVERY:
                safe = partial.offset
                partial.sync()
                self._room.check(self._url.shown, 0 if partial.size else EVERY)
            self._meter.at(partial.offset, partial.size)
        if end is not None and partial.offset < end:
            raise answer.broken()
        if partial.size not in (None, partial.offset):
            raise SourceBroken(
                self._url.shown, "the server sent a part of what was asked for", reason="cut", status=answer.status
            )
        partial.finish()

    def _judge(self) -> None:
        """Look at the first MiB, once. What can never be an image is removed."""
        if not self._judged:
            self._judged = True
            self._or_discard(self._check_head)

    def _check_head(self) -> None:
        partial = self._partial
        head = partial.head(HEAD)
        check_head(self._url.shown, head)
        if partial.whole:
            check_min_size(self._url.shown, partial.offset, self._limits)
        if self._early is not None:
            self._early(head, partial.size)

    def _or_discard(self, check: Callable[[], None]) -> None:
        try:
            check()
        except PhimageError:
            self._partial.discard()
            raise
