"""Programs that people have get a published disk's very bytes: whole, in parts, after a break, and out of every form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from phimage import demo as demonstration
from phimage import demo_disk
from tests.e2e.conftest import starter
from tests.e2e.process import Phimage, Server, wait_until
from tests.publishing.shop import as_qcow2, disk, sha256_of

SECONDS = 120
QEMU_SECONDS = 60
CUT = 5_000_000
"""Bytes after which a download is cut: in the middle of a chunk."""
IPA = "ironic-python-agent==13.0.0"
FOLDER = Path(__file__).parents[2] / ".cache" / "ironic-python-agent"
SYSTEM_PATH = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


class Published(NamedTuple):
    """A disk that was published, and the addresses of its forms."""

    disk: Path
    image: str
    raw: str
    zstd: str
    qcow2: str
    sha256: str


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A disk of 40 MiB, half of its MiB empty, published as qcow2."""
    folder = tmp_path_factory.mktemp("downloaders")
    raw = disk(folder, mebibytes=40, seed=40)
    original = as_qcow2(raw, "-c")
    home = Phimage(folder / "home", PHIMAGE_PUBLISHERS="1")
    with Server(home, "serve", "--port", "0") as server:
        assert server.new_key is not None
        phimage = home.using(server.url, server.new_key)
        phimage.well("catalog", "apply", "-", text=starter())
        what = ("--type", "base", "--name", "Debian", "--os-type", "Debian", "--os-name", "Debian 12 64bit")
        where = ("--zone", "cn-bj2-02", "--support", "DB-2")
        known = ("--digest", f"sha256:{sha256_of(original)}")
        image = phimage.well("image", "publish", str(original), *what, *where, *known).strip()
        urls = phimage.json("image", "url", image)
        assert urls["Digest"] == f"sha256:{sha256_of(raw)}"
        forms = (urls[name] for name in ("RawUrl", "ZstdUrl", "Qcow2Url", "Sha256Url"))
        yield Published(raw, image, *forms)


def run(*command: str | Path, folder: Path, seconds: int = SECONDS) -> str:
    """What a command prints that must end well."""
    ended = subprocess.run(
        list(map(str, command)), cwd=folder, env=SYSTEM_PATH, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return ended.stdout + ended.stderr


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


def cut(url: str, file: Path) -> None:
    """A download that breaks after some bytes."""
    with requests.get(url, stream=True, timeout=SECONDS) as answer, file.open("wb") as out:
        out.write(answer.raw.read(CUT))
    assert file.stat().st_size == CUT


@pytest.mark.more
@needs("curl")
@pytest.mark.parametrize("form", ["raw", "zstd", "qcow2"])
def test_curl_goes_on_where_a_download_broke(form: str, published: Published, tmp_path: Path) -> None:
    url: str = getattr(published, form)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run("curl", "-sSfo", whole, url, folder=tmp_path)
    cut(url, broken)
    told = run("curl", "-sSf", "-C", "-", "-o", broken, "-w", "%{http_code} %{size_download}", url, folder=tmp_path)
    assert told == f"206 {whole.stat().st_size - CUT}"
    assert broken.read_bytes() == whole.read_bytes()
    if form == "raw":
        assert whole.read_bytes() == published.disk.read_bytes()


@pytest.mark.more
@needs("wget")
def test_wget_goes_on_where_a_download_broke(published: Published, tmp_path: Path) -> None:
    broken = tmp_path / "disk.raw"
    cut(published.raw, broken)
    told = run("wget", "-c", "-O", broken, published.raw, folder=tmp_path)
    assert "206 Partial Content" in told
    assert broken.read_bytes() == published.disk.read_bytes()


@needs("aria2c")
def test_aria2_gets_one_disk_in_parallel_ranges_and_verifies_it(published: Published, tmp_path: Path) -> None:
    known = f"--checksum=sha-256={sha256_of(published.disk)}"
    slow = "--max-overall-download-limit=20M"  # or the first connection may have it all before there is another
    options = ("-x4", "-s4", "-k1M", slow, known, "--log-level=info", "-l-")
    told = run("aria2c", *options, "-o", "disk.raw", published.raw, folder=tmp_path)
    assert told.count("206 Partial Content") >= 2
    assert (tmp_path / "disk.raw").read_bytes() == published.disk.read_bytes()


@needs("zstd")
@needs("curl")
def test_curl_zstd_and_dd_write_the_disk_and_sha256sum_agrees(published: Published, tmp_path: Path) -> None:
    target = f"{published.image}.raw"
    pipe = f"curl -sSf '{published.zstd}' | zstd -dq | dd of={target} bs=4M status=none"
    run("bash", "-c", f"set -eo pipefail; {pipe}; curl -sSf '{published.sha256}' | sha256sum -c -", folder=tmp_path)
    assert (tmp_path / target).read_bytes() == published.disk.read_bytes()


@needs("qemu-img")
@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_qemu_img_converts_a_disk_over_http(form: str, published: Published, tmp_path: Path) -> None:
    if "http" not in run("qemu-img", "--help", folder=tmp_path).rpartition("Supported formats:")[2].split():
        pytest.skip("this qemu-img does not speak HTTP; Debian has that in qemu-block-extra")
    url: str = getattr(published, form)
    # One request at a time: qemu 7.2 with its usual eight loses one now and then and waits for ever, on any server.
    run("qemu-img", "convert", "-m", "1", "-f", form, "-O", "raw", url, "disk.raw", folder=tmp_path, seconds=QEMU_SECONDS)
    assert (tmp_path / "disk.raw").read_bytes() == published.disk.read_bytes()


@needs("qemu-img")
def test_the_served_qcow2_is_a_sound_file_of_its_own(published: Published, tmp_path: Path) -> None:
    run("curl", "-sSfo", "disk.qcow2", published.qcow2, folder=tmp_path)
    told = json.loads(run("qemu-img", "check", "-f", "qcow2", "--output=json", "disk.qcow2", folder=tmp_path))
    assert (told["check-errors"], told.get("leaks", 0), told.get("corruptions", 0)) == (0, 0, 0)
    assert (tmp_path / "disk.qcow2").stat().st_size < published.disk.stat().st_size


def test_what_the_agent_of_ironic_asks_for_gives_the_disk_and_its_digest(published: Published) -> None:
    """As ironic-python-agent 13.0 does it (extensions/standby.py): the checksum file first, whose line must end with the
    name in the path of the image's URL, then the image in one stream."""
    line = requests.get(published.sha256, stream=True, timeout=60).text.strip()
    digest, name = line.split()
    assert name == PurePosixPath(urlsplit(published.raw).path).name
    found = sha256()
    with requests.get(published.raw, stream=True, proxies={}, timeout=60) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(published.disk.stat().st_size))
        for block in answer.iter_content(1 << 20):
            found.update(block)
    assert found.hexdigest() == digest == sha256_of(published.disk)


AGENT = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
import ironic_python_agent.config as config
config.CONF([], project="agent")
from ironic_python_agent.extensions import standby
image = {"id": "disk", "urls": [sys.argv[2]], "checksum": sys.argv[3], "image_type": "whole-disk", "disk_format": "raw"}
standby._download_image(image)
"""


@pytest.mark.torture
def test_the_agent_of_ironic_itself_downloads_and_verifies_the_disk(published: Published, tmp_path: Path) -> None:
    python = FOLDER / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", FOLDER, folder=tmp_path)
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", IPA, folder=tmp_path, seconds=600)
    run(python, "-c", AGENT, tmp_path, published.raw, published.sha256, folder=tmp_path)
    assert (tmp_path / "disk").read_bytes() == published.disk.read_bytes()
    other = subprocess.run(
        [python, "-c", AGENT, tmp_path, published.raw, "0" * 64], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert other.returncode == 1
    assert "ImageChecksumError" in other.stderr


@pytest.mark.torture
@needs("qemu-system-x86_64")
@pytest.mark.skipif(not Path("/usr/lib/ipxe/ipxe.lkrn").exists(), reason="on Debian: apt-get install ipxe")
def test_a_machine_boots_a_disk_over_http_with_ipxe(demo: Server, tmp_path: Path) -> None:
    """Debian's iPXE (package ipxe) in a machine of qemu-system-x86: `sanboot` reads sectors of the .raw by range requests."""
    with demonstration.client(demo.url) as client:
        url = client.call("GetPHostImageDownloadUrl", ImageId=demonstration.WITH_DISK).fields["RawUrl"]
    script = tmp_path / "boot.ipxe"
    script.write_text(f"#!ipxe\ndhcp\nsanboot --no-describe {url.replace('127.0.0.1', '10.0.2.2')}\n")
    machine = [
        *("qemu-system-x86_64", "-M", "pc,accel=tcg", "-m", "256", "-nographic"),
        *("-netdev", "user,id=net", "-device", "virtio-net,netdev=net"),
        *("-kernel", "/usr/lib/ipxe/ipxe.lkrn", "-initrd", str(script)),
    ]
    wanted = demo_disk.MESSAGE.split()[0:6]
    with (tmp_path / "screen").open("wb") as screen:
        running = subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=screen, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: b" ".join(wanted) in (tmp_path / "screen").read_bytes(), SECONDS)
    finally:
        running.kill()
        running.wait()
