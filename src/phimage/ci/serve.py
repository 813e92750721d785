"""The process of the endpoint: it serves until it is stopped, until another process ends, or until a command does."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from msgspec import Struct

from phimage import demo
from phimage.application import prime_decoders
from phimage.ci.endpoint import Endpoint
from phimage.ci.start import make_start
from phimage.ci.worlds import Worlds, temporary_folder
from phimage.errors import SetupError
from phimage.event_log import warnings_only
from phimage.files import replace_file
from phimage.processes import http_server
from phimage.processes.http_server import HttpServer
from phimage.processes.runtime import private_files, return_freed_memory
from phimage.processes.server import listening, raise_file_limit, server_url

DRAIN_SECONDS = 0.5
"""Seconds that answers under way have at the end: a test that hangs must not keep its run."""
SIGNALLED = 128
"""Exit code, with the number of the signal, of a command that one ended: that of shells."""


class EndpointOptions(Struct, frozen=True):
    """How the endpoint is started. `while_pid` is a process with which it ends."""

    seeds: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    beyond_loopback: bool = False
    ready_file: Path | None = None
    random_seed: str = "0"
    while_pid: int | None = None


def serve(options: EndpointOptions, on_ready: Callable[[str, Mapping[str, str]], None]) -> None:
    """Serve until SIGINT, SIGTERM, SIGHUP or the end of `while_pid`.

    Calls `on_ready` with the URL and the variables for clients. Raises SetupError, and BadControl for a seed.
    """

    async def until_stopped(url: str) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, *_ending_signals()):
            loop.add_signal_handler(number, stop.set)
        if options.while_pid is not None:
            _when_ended(options.while_pid, stop.set)
        on_ready(url, variables(url))
        await stop.wait()

    _serve_while(options, until_stopped)


def run_command(options: EndpointOptions, command: Sequence[str]) -> int:
    """Run a command beside the endpoint, with the variables for clients, and return its exit code. Raises like `serve`.

    The command ends at SIGTERM and SIGHUP, and with `while_pid`.
    """
    code, process = 0, cast("asyncio.subprocess.Process | None", None)

    async def until_ended(url: str) -> None:
        nonlocal code, process
        loop = asyncio.get_running_loop()
        must_end = False

        def end() -> None:
            nonlocal must_end
            must_end = True
            if process is not None:
                with suppress(ProcessLookupError):
                    process.terminate()

        for number in _ending_signals():
            loop.add_signal_handler(number, end)
        environment = {**os.environ, **variables(url)}
        try:
            process = await asyncio.create_subprocess_exec(*command, env=environment)
        except OSError as error:
            raise SetupError(f"{command[0]} cannot be started: {error.strerror}; check its name and PATH") from None
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to the command as well
        if options.while_pid is not None:
            _when_ended(options.while_pid, end)
        if must_end:
            end()
        ended = await process.wait()
        code = ended if ended >= 0 else SIGNALLED - ended

    _serve_while(options, until_ended)
    return code


def variables(url: str) -> dict[str, str]:
    """The environment variables that lead a client to the endpoint, with the keys of the demonstration."""
    return {
        "PHIMAGE_ENDPOINT": url,
        "PHIMAGE_PUBLIC_KEY": demo.PUBLIC_KEY,
        "PHIMAGE_PRIVATE_KEY": demo.PRIVATE_KEY.reveal(),
        "PHIMAGE_REGION": demo.REGION,
        "PHIMAGE_ZONE": demo.ZONE,
        "PHIMAGE_PROJECT": demo.PROJECTS_OF_DEMO[0][0],
    }


def _serve_while(options: EndpointOptions, work: Callable[[str], Awaitable[None]]) -> None:
    """Serve while a coroutine function works; it gets the URL once requests are answered."""
    if not (options.beyond_loopback or _is_loopback(options.host)):
        raise SetupError(
            f"{options.host} can be reached by others, and this endpoint has well-known keys: listen on 127.0.0.1, or say "
            "--beyond-loopback too"
        )
    for number in _ending_signals():
        signal.signal(number, _end_start)
    if options.ready_file is not None:
        with suppress(OSError):  # it cannot be written either, which says why
            options.ready_file.unlink(missing_ok=True)  # of an endpoint that was killed
    with private_files(), warnings_only(), listening(options.host, options.port) as listener, _worlds(options) as worlds:
        url = server_url("http", options.host, listener.getsockname()[1])
        operator = worlds.start.operator
        keys = {
            "demo": {"public": demo.PUBLIC_KEY, "private": demo.PRIVATE_KEY.reveal()},
            "operator": {"public": operator.public, "private": operator.private.reveal()},
        }
        try:
            http_server.run(_serve(listener, Endpoint(worlds, keys), url, options.ready_file, work))
        finally:
            if options.ready_file is not None:
                options.ready_file.unlink(missing_ok=True)


async def _serve(
    listener: socket.socket, endpoint: Endpoint, url: str, ready_file: Path | None, work: Callable[[str], Awaitable[None]]
) -> None:
    server = HttpServer(endpoint)
    server.start(listener)
    try:
        if ready_file is not None:
            _write_ready(ready_file, url)
        await work(url)
    finally:
        await server.stop(DRAIN_SECONDS)


def _write_ready(path: Path, url: str) -> None:
    """Write the variables, a line each: a shell can read the file, and its being there says that requests are answered."""
    text = "".join(f"{name}={value}\n" for name, value in variables(url).items())
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise SetupError(
            f"the ready file {path} cannot be written: {error.strerror}; choose another with --ready-file"
        ) from None


@contextmanager
def _worlds(options: EndpointOptions) -> Iterator[Worlds]:
    prime_decoders()
    return_freed_memory()
    raise_file_limit()  # a world has three files of its database
    with temporary_folder() as name:
        folder = Path(name)
        worlds = Worlds(make_start(options.seeds, options.random_seed, folder), folder)
        try:
            yield worlds
        finally:
            worlds.close()


def _when_ended(pid: int, stop: Callable[[], object]) -> None:
    """Call `stop` when a process ends; at once if it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        stop()
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(descriptor)
        with suppress(OSError):
            os.close(descriptor)
        stop()

    loop.add_reader(descriptor, ended)


def _ending_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP of a terminal that is closed unless it is ignored, as `nohup` does."""
    return [signal.SIGTERM, *([] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP])]


def _end_start(number: int, _frame: object) -> None:
    """End before the event loop has its handlers: what lies in memory would outlive a process that the signal kills."""
    raise SystemExit(SIGNALLED + number)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
