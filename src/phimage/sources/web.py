"""Asking web servers, safely: an address that was checked, the right name in TLS, every redirect checked anew.

`http.client` over our own socket, and no proxies of the environment: a proxy would resolve the name a second time.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from phimage.sources.answer import Answer, Times, told_of
from phimage.sources.deadline import within
from phimage.sources.errors import AnswerRefused, SourceBroken, UrlRefused
from phimage.sources.policy import Policy, Resolve, system_resolver
from phimage.sources.url import Url
from phimage.sources.watch import TICK, Watch

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Web:
    """What may be asked, how names are resolved, how long servers may take, whom TLS trusts. Safe in several threads."""

    def __init__(
        self,
        policy: Policy,
        *,
        resolve: Resolve = system_resolver,
        times: Times | None = None,
        tls: ssl.SSLContext | None = None,
        agent: str = "phimage",
    ) -> None:
        self.policy = policy
        self.times = times or Times()
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()
        self._agent = agent

    def get(
        self,
        url: Url,
        fields: Mapping[str, str] | None = None,
        *,
        downgrade: bool = False,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """GET a URL, following redirects; whatever the status, the caller judges it. Close the answer.

        A redirect from https to http is followed only with `downgrade`: then a digest must prove the bytes. Setting `cancel`
        ends this call, and all reading of the answer, with SourceBroken.
        Raises UrlRefused, AnswerRefused (no such host, certificate, too many redirects), SourceBroken.
        """
        here, cancel = url, cancel or threading.Event()
        for _ in range(self.policy.redirects + 1):
            try:
                answer = self._ask(here, fields or {}, cancel)
            except UrlRefused as error:
                raise (error if here is url else _led_to(url, error)) from None
            if answer.status not in REDIRECTS:
                return answer
            with answer:
                there = self._follow(answer, here)
            if here.scheme == "https" and there.scheme == "http" and not downgrade:
                remedy = "give the digest of the image, then the way it takes does not matter"
                raise UrlRefused(here.shown, f"it redirects from https to {there.shown}", remedy, reason="downgrade")
            here = there
        told = f"more than {self.policy.redirects} redirects"
        raise UrlRefused(url.shown, told, "give the URL of the file itself", reason="redirects")

    def _follow(self, answer: Answer, here: Url) -> Url:
        location = answer.field("Location")
        if not location:
            raise answer.refused("it redirects to nowhere", "give the URL of the file itself", reason="redirects")
        with suppress(UnicodeDecodeError):
            location = location.encode("latin-1").decode("utf-8")
        try:
            return here.join(location)
        except UrlRefused as error:
            raise _led_to(here, error) from None

    def _ask(self, url: Url, fields: Mapping[str, str], cancel: threading.Event) -> Answer:
        """One request and its answer, whatever it is."""
        bare, watch = self._connect(url, cancel)
        connection = http.client.HTTPConnection(url.host, url.port)
        connection.sock = bare
        try:
            watch.until(time.monotonic() + self.times.head)
            sent = {"Host": url.authority, "User-Agent": self._agent, "Accept": "*/*", "Accept-Encoding": "identity"}
            connection.request("GET", url.path, headers={**sent, "Connection": "close", **fields})
            response = connection.getresponse()
            watch.rest()
            if watch.cut:  # else the header would end where it was cut
                response.close()
                raise TimeoutError
            return Answer(response, url, watch, self.times)
        except (http.client.HTTPException, OSError, ValueError) as error:
            watch.close()
            raise self._no_answer(url, error, watch.cut) from None
        except BaseException:
            watch.close()
            raise
        finally:
            bare.close()  # the answer has its own hold on it

    def _connect(self, url: Url, cancel: threading.Event) -> tuple[socket.socket, Watch]:
        """A connection to the first checked address that takes it, and the watch over it."""

        def resolve(host: str, port: int) -> Sequence[str]:
            return within(self.times.head, cancel, lambda: self._resolve(host, port))

        last: Exception | None = None
        for address in self.policy.admit(url, resolve):
            if cancel.is_set():
                break
            try:
                return self._open(url, address, cancel)
            except ssl.SSLCertVerificationError as error:
                told = f"the certificate of {url.host} is not valid: {error.verify_message}"
                remedy = "check the URL; a private authority goes into SSL_CERT_FILE of the server"
                raise AnswerRefused(url.shown, told, remedy, reason="certificate") from None
            except OSError as error:
                last = error
        told = "no answer to the connection" if isinstance(last, TimeoutError) or last is None else told_of(last)
        raise SourceBroken(url.shown, f"{url.host} cannot be reached: {told}", reason="connect")

    def _open(self, url: Url, address: str, cancel: threading.Event) -> tuple[socket.socket, Watch]:
        bare = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        watch = Watch(bare, min(TICK, self.times.head / 8, self.times.stall / 8), cancel)
        try:
            bare.settimeout(max(self.times.connect, self.times.head, self.times.stall) + 1)  # the watch is stricter
            watch.until(time.monotonic() + self.times.connect)
            bare.connect((address, url.port))
            watch.until(time.monotonic() + self.times.connect)
            wrapped = self._tls.wrap_socket(bare, server_hostname=url.host) if url.scheme == "https" else bare
            watch.rest()
            return wrapped, watch
        except BaseException as error:
            watch.close()
            bare.close()
            if watch.cut and isinstance(error, OSError):
                raise TimeoutError from None
            raise

    def _no_answer(self, url: Url, error: Exception, cut: bool) -> Exception:
        if cut or isinstance(error, TimeoutError):
            return SourceBroken(url.shown, f"no whole answer in {self.times.head:g} s", reason="stalled")
        if isinstance(error, http.client.BadStatusLine) and str(error)[:5] == "HTTP/"[: len(str(error))]:
            return SourceBroken(url.shown, "the connection broke in the answer's first line", reason="cut")
        if isinstance(error, http.client.RemoteDisconnected | OSError):
            return SourceBroken(url.shown, f"the connection broke before the answer: {told_of(error)}", reason="cut")
        told = f"what answers there does not speak HTTP ({told_of(error)})"
        return AnswerRefused(url.shown, told, "check the URL", reason="protocol")


def _led_to(url: Url, error: UrlRefused) -> UrlRefused:
    return UrlRefused(url.shown, f"it redirects to {error.where}: {error.what}", error.remedy, reason=error.reason)
