"""An HTTP client for untrusted servers: connects only to checked addresses, verifies TLS by name, checks every redirect.

Built on `http.client` over sockets of its own. Proxies of the environment are ignored, because a proxy would resolve the name a
second time.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cached_property
from typing import Final, TypeVar

from phimage.sources.address_policy import AddressPolicy, Resolver, system_resolver
from phimage.sources.errors import ResponseRefused, SourceInterrupted, UrlRefused, error_text
from phimage.sources.response import TICK, HttpResponse, HttpTimeouts, Watchdog
from phimage.sources.url import Url

Result = TypeVar("Result")

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


# docs/decisions.md#fetching-has-its-own-http-connection
class HttpClient:
    """Sends GET requests within an address policy. Thread-safe."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve: Resolver = system_resolver,
        timeouts: HttpTimeouts | None = None,
        tls: ssl.SSLContext | None = None,
        agent: str = "phimage",
    ) -> None:
        self.policy = policy
        self.timeouts = timeouts or HttpTimeouts()
        self._resolve = resolve
        self._given_tls = tls
        self._agent = agent

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made at the first https URL: reading the system's certificates takes 10 ms."""
        return self._given_tls or ssl.create_default_context()

    def get(
        self,
        url: Url,
        headers: Mapping[str, str] | None = None,
        *,
        downgrade: bool = False,
        cancel: threading.Event | None = None,
    ) -> HttpResponse:
        """GET a URL, following redirects, and return the response whatever its status. The caller closes it.

        A redirect from https to http is followed only with `downgrade`, for callers that verify a digest. Setting `cancel` ends
        this call, and every read of the response, with SourceInterrupted.
        Raises UrlRefused, ResponseRefused (unknown host, invalid certificate, no HTTP), SourceInterrupted.
        """
        current, cancel = url, cancel or threading.Event()
        for _ in range(self.policy.redirects + 1):
            try:
                response = self._request(current, headers or {}, cancel)
            except UrlRefused as error:
                raise (error if current is url else _refused_redirect(url, error)) from None
            if response.status not in REDIRECTS:
                return response
            with response:
                target = self._redirect_target(response, current)
            if current.scheme == "https" and target.scheme == "http" and not downgrade:
                remedy = "give the digest of the image, which makes plain http safe"
                raise UrlRefused(current.shown, f"it redirects from https to {target.shown}", remedy, reason="downgrade")
            current = target
        message = f"more than {self.policy.redirects} redirects"
        raise UrlRefused(url.shown, message, "give the URL of the file itself", reason="redirects")

    def _redirect_target(self, response: HttpResponse, current: Url) -> Url:
        location = response.header("Location")
        if not location:
            raise response.refused("the redirect has no Location", "give the URL of the file itself", reason="redirects")
        with suppress(UnicodeDecodeError):
            location = location.encode("latin-1").decode("utf-8")
        try:
            return current.join(location)
        except UrlRefused as error:
            raise _refused_redirect(current, error) from None

    def _request(self, url: Url, headers: Mapping[str, str], cancel: threading.Event) -> HttpResponse:
        """Send one request and return its response."""
        bare, watchdog = self._connect(url, cancel)
        connection = http.client.HTTPConnection(url.host, url.port)
        connection.sock = bare
        try:
            watchdog.arm(time.monotonic() + self.timeouts.head)
            own = {"Host": url.authority, "User-Agent": self._agent, "Accept": "*/*", "Accept-Encoding": "identity"}
            connection.request("GET", url.path, headers={**own, "Connection": "close", **headers})
            response = connection.getresponse()
            watchdog.disarm()
            if watchdog.cut:  # a header that was cut off would pass for a shorter one
                response.close()
                raise TimeoutError
            return HttpResponse(response, url, watchdog, self.timeouts)
        except (http.client.HTTPException, OSError, ValueError) as error:
            watchdog.close()
            raise self._no_response(url, error, watchdog.cut) from None
        except BaseException:
            watchdog.close()
            raise
        finally:
            bare.close()  # the response holds a reference of its own

    def _connect(self, url: Url, cancel: threading.Event) -> tuple[socket.socket, Watchdog]:
        """Connect to the first checked address that accepts, and start a watchdog over the connection."""

        def resolve(host: str, port: int) -> Sequence[str]:
            return run_within(self.timeouts.head, cancel, lambda: self._resolve(host, port))

        last: Exception | None = None
        for address in self.policy.resolve(url, resolve):
            if cancel.is_set():
                break
            try:
                return self._open(url, address, cancel)
            except ssl.SSLCertVerificationError as error:
                message = f"the certificate of {url.host} is not valid: {error.verify_message}"
                remedy = "check the URL; a private authority belongs into SSL_CERT_FILE of the server"
                raise ResponseRefused(url.shown, message, remedy, reason="certificate") from None
            except OSError as error:
                last = error
        message = "the connection timed out" if isinstance(last, TimeoutError) or last is None else error_text(last)
        raise SourceInterrupted(url.shown, f"{url.host} cannot be reached: {message}", reason="connect")

    def _open(self, url: Url, address: str, cancel: threading.Event) -> tuple[socket.socket, Watchdog]:
        timeouts = self.timeouts
        bare = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        watchdog = Watchdog(bare, min(TICK, timeouts.head / 8, timeouts.stall / 8), cancel)
        try:
            bare.settimeout(max(timeouts.connect, timeouts.head, timeouts.stall) + 1)  # the watchdog acts earlier
            watchdog.arm(time.monotonic() + timeouts.connect)
            bare.connect((address, url.port))
            watchdog.arm(time.monotonic() + timeouts.connect)
            connection = self._tls.wrap_socket(bare, server_hostname=url.host) if url.scheme == "https" else bare
            watchdog.disarm()
            return connection, watchdog
        except BaseException as error:
            watchdog.close()
            bare.close()
            if watchdog.cut and isinstance(error, OSError):
                raise TimeoutError from None
            raise

    def _no_response(self, url: Url, error: Exception, cut: bool) -> Exception:
        if cut or isinstance(error, TimeoutError):
            return SourceInterrupted(url.shown, f"no complete response header in {self.timeouts.head:g} s", reason="stalled")
        if isinstance(error, http.client.BadStatusLine) and str(error)[:5] == "HTTP/"[: len(str(error))]:
            return SourceInterrupted(url.shown, "the connection was closed within the status line", reason="cut")
        if isinstance(error, http.client.RemoteDisconnected | OSError):
            return SourceInterrupted(url.shown, f"the connection broke before the response: {error_text(error)}", reason="cut")
        message = f"the server does not speak HTTP ({error_text(error)})"
        return ResponseRefused(url.shown, message, "check the URL", reason="protocol")


def run_within(seconds: float, cancel: threading.Event, call: Callable[[], Result]) -> Result:
    """Run `call` in a thread and return its result, for calls that cannot be interrupted, such as name resolution.

    Raises what `call` raises, and TimeoutError after `seconds` or once `cancel` is set; the thread is then abandoned.
    """
    result = Future[Result]()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            result.set_exception(error)

    threading.Thread(target=run, name="source-call", daemon=True).start()
    end = time.monotonic() + seconds
    while not cancel.is_set() and time.monotonic() < end:
        if wait([result], TICK).done:
            return result.result()
    raise TimeoutError


def _refused_redirect(url: Url, error: UrlRefused) -> UrlRefused:
    return UrlRefused(url.shown, f"it redirects to {error.where}: {error.what}", error.remedy, reason=error.reason)
