"""Expensive files: made once for a recipe, then cached in `.cache/images` of this checkout.

Test processes that want the same file at once wait for the one that makes it. `make clean` removes all of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".cache" / "images"
SECONDS = 600
SBIN = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"}


def kept(name: str, recipe: str, make: Callable[[Path, Path], None]) -> Path:
    """The file of a name, as the recipe says. `make` gets an empty folder for its work, and the path to write to.

    Nobody may change the file: it has no right to write, and what wants to change it takes a copy. A file of an older recipe
    is removed.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{hashlib.sha256(recipe.encode()).hexdigest()[:16]}-{name}"
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for older in FOLDER.glob(f"{'?' * 16}-{name}"):
                older.unlink()
            with tempfile.TemporaryDirectory(dir=FOLDER, prefix="making-") as work:
                made = Path(work) / "made"
                folder = Path(work) / "work"
                folder.mkdir()
                make(folder, made)
                made.chmod(0o444)
                made.rename(path)
    return path


def run(*command: str | Path, folder: Path | None = None, text: str | None = None, **environment: str) -> str:
    """Run a program to its end and give what it wrote. A program that is missing or fails, fails the test and says why."""
    if shutil.which(command[0], path=SBIN["PATH"]) is None:
        pytest.fail(f"{command[0]} is not installed; .ci/run says what the tests need", pytrace=False)
    variables = os.environ | SBIN | {"LC_ALL": "C.UTF-8"} | environment
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=variables,
        input=text,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode != 0:
        told = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        pytest.fail(f"{command[0]} failed with exit code {done.returncode}:\n{told}", pytrace=False)
    return done.stdout
