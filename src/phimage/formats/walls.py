"""The walls of the sandbox on this machine: whether other files, the network and the limits really stop a program.

The kernel, a boot parameter or a container runtime may take a wall away. A publisher tries all of them at its start.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
from msgspec import Struct

from phimage.errors import SetupError
from phimage.formats import sandbox
from phimage.formats.errors import QemuFailed
from phimage.formats.limits import GIB

TRY_SECONDS: Final = 60.0
WALLS: Final[tuple[str, ...]] = ("files", "network", "limits")
NO_EFFECT: Final = "it has no effect here"

REMEDIES: Final = {
    "files": "use a kernel with Landlock (Linux 5.13 or newer, landlock in the boot parameter lsm=) and a container runtime "
    "that allows it",
    "network": "use a kernel and a container runtime that allow seccomp filters or user namespaces",
    "limits": "use a kernel that enforces resource limits",
}


class SandboxWalls(Struct, frozen=True):
    """The mechanisms that work, and for each missing wall the reason."""

    mechanisms: tuple[str, ...]
    missing: dict[str, str]

    # docs/decisions.md#a-publisher-without-its-sandbox-refuses-to-work
    def require(self) -> None:
        """Raises SetupError, with remedies, when a wall is missing."""
        if not self.missing:
            return
        reasons = "; ".join(f"{wall} ({reason}): {REMEDIES[wall]}" for wall, reason in self.missing.items())
        raise SetupError(
            f"qemu-img would read hostile images in a sandbox without a wall: {reasons}; "
            "or publish without it, with require_sandbox = false"
        )


class _Found(Struct, frozen=True):
    """What the child prints. `passable` are walls that it could pass although each of them has a working mechanism."""

    mechanisms: tuple[str, ...]
    missing: dict[str, str]
    passable: tuple[str, ...]


def try_walls() -> SandboxWalls:
    """Enter the sandbox in a child process and try what each wall forbids. Raises SetupError if that is impossible."""
    user = sandbox.NOBODY if os.geteuid() == 0 else None
    settings = sandbox.ChildSettings(
        memory=GIB,
        seconds=int(TRY_SECONDS),
        output=0,
        readable=(),
        writable=(),
        user=user,
        group=user,
        parent=os.getpid(),
        required=False,
    )
    try:
        output = sandbox.run(settings.command(), files=(), seconds=TRY_SECONDS, name="the sandbox")
        found = msgspec.json.decode(output, type=_Found)
    except (QemuFailed, msgspec.DecodeError) as error:
        raise SetupError(f"the sandbox of qemu-img cannot be tried: {error}") from None
    reasons = {wall: found.missing.get(wall, NO_EFFECT) for wall in WALLS if wall in (*found.missing, *found.passable)}
    return SandboxWalls(found.mechanisms, reasons)
