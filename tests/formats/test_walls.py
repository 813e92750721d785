"""Which walls of the sandbox stand: here, and on kernels that lack something or only seem to have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from phimage.errors import SetupError
from phimage.formats.sandbox_child import ARCHITECTURES, CREATE_RULESET, RESTRICT_SELF
from phimage.formats.walls import SandboxWalls, try_walls
from tests.formats.test_sandbox_child import LANDLOCK
from tests.formats.without import MESSAGE, PRCTL, SETGROUPS, UNSHARE, without

TRY = "import msgspec, sys; from phimage.formats.walls import try_walls; "
TRY += "sys.stdout.buffer.write(msgspec.json.encode(try_walls()))"
INFO = "import sys; from phimage.formats import qemu; from phimage.formats.table import Format; "
INFO += "qemu.info(int(sys.argv[1]), Format.RAW, require_walls=sys.argv[2] == 'yes')"

pytestmark = pytest.mark.skipif(
    not LANDLOCK or os.uname().machine not in ARCHITECTURES,
    reason="the kernel lacks Landlock, or there is no filter for the machine",
)


def walls(*calls: int, error: int = 1) -> SandboxWalls:
    """The walls on a kernel without these calls."""
    found = subprocess.run([*without(*calls, error=error), sys.executable, "-c", TRY], capture_output=True, check=True)
    return msgspec.json.decode(found.stdout, type=SandboxWalls)


def test_every_wall_stands_here() -> None:
    found = try_walls()

    assert found.missing == {}
    assert {"filter", "landlock"} <= set(found.mechanisms)
    found.require()


def test_without_namespaces_the_filter_keeps_the_network_away() -> None:
    """As in most containers, and for most users where the system restricts user namespaces."""
    assert walls(UNSHARE) == SandboxWalls(("filter", "landlock"), {})


def test_without_landlock_the_wall_before_other_files_is_missing_and_named() -> None:
    found = walls(CREATE_RULESET)

    assert found.missing == {"files": f"landlock: {MESSAGE}"}
    with pytest.raises(
        SetupError, match=r"without a wall: files \(landlock: .*\): use a kernel with Landlock .* require_sandbox"
    ):
        found.require()


def test_without_namespaces_and_filters_the_wall_before_the_network_is_missing_and_named() -> None:
    found = walls(UNSHARE, PRCTL)

    assert found.missing == {"network": f"namespace: {MESSAGE}, filter: {MESSAGE}"}
    with pytest.raises(
        SetupError, match=r"network \(namespace: .*, filter: .*\): use a kernel .* seccomp filters or user namesp"
    ):
        found.require()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_root_without_its_capabilities_is_named_as_the_reason() -> None:
    """As in a container that took them away."""
    ended = subprocess.run([*without(SETGROUPS), sys.executable, "-c", TRY], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "root may not become another user here; start phimage as a user of its own" in ended.stderr


# docs/decisions.md#walls-are-tried-and-not-asked-for
def test_a_wall_that_only_seems_to_stand_is_missing() -> None:
    assert walls(RESTRICT_SELF, error=0).missing == {"files": "it has no effect here"}


@pytest.mark.parametrize(("required", "code"), [("yes", 1), ("no", 0)])
def test_qemu_img_is_not_started_without_a_wall_unless_none_is_required(required: str, code: int, tmp_path: Path) -> None:
    """Also when the wall went missing after the start of the publisher."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    with disk.open("rb") as file:
        command = [sys.executable, "-c", INFO, str(file.fileno()), required]
        ended = subprocess.run(
            [*without(CREATE_RULESET), *command], pass_fds=[file.fileno()], capture_output=True, text=True, check=False
        )

    assert ended.returncode == code, ended.stderr
    assert ("SetupError: qemu-img info could not be started: the sandbox lacks walls: landlock" in ended.stderr) == (code == 1)
