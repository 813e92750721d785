"""The wheel works outside the source tree: installed elsewhere, with all files that are not modules."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from phimage import __version__
from tests.e2e.process import Phimage, Server

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.more  # a build, an environment and a server take several seconds


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with the wheel. The packages that it needs are those of the tests' environment."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # whose own .pth files do not count
    return folder / "bin" / "phimage"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    source = ROOT / "src"
    files = {
        str(file.relative_to(source)) for file in source.rglob("*") if file.is_file() and file.parent.name != "__pycache__"
    }

    with ZipFile(wheel) as opened:
        packed = set(opened.namelist())

    assert {name for name in packed if ".dist-info/" not in name} == files
    assert {"phimage/py.typed", "phimage/catalog_file/starter.yaml"} <= files


def test_an_installed_wheel_serves_the_starter_catalogue(program: Path, tmp_path: Path) -> None:
    phimage = Phimage(tmp_path, program=str(program))
    assert phimage.execute("--version").out == f"phimage, version {__version__}\n"
    imported = run(program.with_name("python"), "-c", "import phimage; print(phimage.__file__)")
    assert imported.startswith(str(program.parents[1]))
    assert phimage.execute("catalog", "schema").out.startswith("{")

    with Server(phimage, "serve", "--port", "0", "--data-dir", "data") as server:
        assert server.new_key is not None
        operator = phimage.using(server.url, server.new_key)
        applied = operator.execute("catalog", "apply", "-", text=phimage.execute("catalog", "starter").out)
        assert applied.code == 0, applied.err
        listed = operator.execute("image", "ls", "--region", "cn-bj2", "--zone", "cn-bj2-02", "--json")
    assert '"TotalCount"' in listed.out, listed.err
