"""The first commands of a newcomer, beside the demonstration. `phimage demo` prints them, and the README's blocks are they.

Each is one line to paste, or a few that continue with a backslash. The variables of the first one lead the others to the
demonstration's profiles: `demo` for its tenant and `operator` for its operator.
"""

from __future__ import annotations

import shlex
from urllib.parse import urlencode

from msgspec import Struct

from phimage.demo import REGION, WITH_DISK, ZONE, client

PROFILES = "profiles.toml"
"""The file of the demonstration's profiles, in its data folder."""
ENDPOINT = "http://127.0.0.1:8080"


class DemoStep(Struct, frozen=True):
    """A command with its purpose. `needs_bytes` says that an image must have some."""

    purpose: str
    command: str
    needs_bytes: bool = False


def steps(data_dir: str = "phimage-demo", programs: str = ".venv/bin") -> tuple[DemoStep, ...]:
    """The steps in their order, for a data folder and the folder of the program; both relative to the present one."""
    return (
        DemoStep("use the commands, with the keys of the demonstration", _variables(data_dir, programs)),
        DemoStep("list what a machine can run", "phimage image ls --machine-type Base-SSD-V5 --cluster 25G --limit 5"),
        DemoStep(
            "explain why an image is not listed",
            "phimage image explain pimg-ub-rm081p --machine-type DB-2 --cluster 25G",
        ),
        DemoStep("download a disk, verified", f"phimage image download {WITH_DISK} -o disk.raw --force", needs_bytes=True),
        DemoStep(
            "publish it for everyone, as the operator",
            f"phimage image publish disk.raw --profile operator --type base --trust-first-use --name 'My disk' \\\n"
            f"  --os-type Ubuntu --os-name 'Ubuntu 22.04 64bit' --zone {ZONE} --support DB-2,Base-SSD-V5",
            needs_bytes=True,
        ),
        DemoStep("see what was changed, by whom", "phimage log --profile operator --changes --limit 2"),
        DemoStep("list the images as they were", "phimage image ls --rev 2 --limit 5"),
    )


def curl(endpoint: str = ENDPOINT) -> DemoStep:
    """The list with curl: a signed URL."""
    with client(endpoint) as signer:
        query = urlencode(signer.signed("DescribePHostImage", Region=REGION, Zone=ZONE, Limit=3))
    return DemoStep("list without phimage's commands", f"curl -s '{endpoint}/?{query}'")


def _variables(data_dir: str, programs: str) -> str:
    path = "" if not programs else f'PATH="{_from_here(programs)}:$PATH" '
    return f'export {path}PHIMAGE_PROFILES="{_from_here(data_dir)}/{PROFILES}"'


def _from_here(folder: str) -> str:
    if folder.startswith("/"):
        return folder
    return f"$PWD/{folder if folder == shlex.quote(folder) else folder.translate(_ESCAPES)}"


_ESCAPES = str.maketrans({character: f"\\{character}" for character in '"$`\\'})
