"""A call in a child process, and what the service manager receives."""

from __future__ import annotations

import os
import socket

import pytest

from phimage.chunks.errors import StoreFailure
from phimage.processes.runtime import in_child, notify_service_manager
from tests import shared


def test_the_result_of_a_child_is_the_callers() -> None:
    child, parent = in_child(lambda: (os.getpid(), os.getppid()))
    assert parent == os.getpid() != child


def test_an_error_of_a_child_is_raised_whole() -> None:
    def fail() -> None:
        raise StoreFailure("list", "chunks", "unreachable", "no route", passing=True)

    with pytest.raises(StoreFailure, match=r"^list chunks: unreachable \(no route\)$") as raised:
        in_child(fail)
    assert (raised.value.operation, raised.value.passing, raised.value.exit_code) == ("list", True, 1)


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_a_state_is_a_datagram_to_the_service_manager(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with shared.short_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = str(folder / "notify") if kind == "file" else f"@phimage-test-{os.getpid()}"
        manager.bind(address.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify_service_manager("READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "unknown"])
def test_without_a_service_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_service_manager("READY=1")
