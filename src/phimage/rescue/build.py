"""Makes the rescue system: kernel, initramfs and boot script in a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Final, cast

from msgspec import Struct

from phimage import __version__
from phimage.errors import SetupError
from phimage.rescue.contents import MODULE_INDEX, PACKAGES, boot_script, is_kept, needed_modules
from phimage.rescue.cpio import CpioWriter

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KERNEL, INITRAMFS, SCRIPT, PACKAGE_LIST = "vmlinuz", "initrd.img", "boot.ipxe", "packages.txt"
MAX_INITRAMFS: Final = 90 << 20
"""In bytes; firmware has to fetch it, and a small machine to hold it twice."""

_LEVEL: Final = 10  # 19 takes ten times as long for 10 % less
_KERNEL_PATH: Final = re.compile(r"boot/vmlinuz-.+")
_EXCLUDES: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_STATUS: Final = "var/lib/dpkg/status"
_SECONDS: Final = 3600


class RescueOptions(Struct, frozen=True):
    """What a rescue system is made of. `sources` are lines of APT; none means those of this machine.

    `server` is the address that its agent calls, `ca` a file of certificates to trust, `console` the kernel's consoles.
    """

    server: str
    suite: str = "bookworm"
    kernel: str = "linux-image-amd64"
    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    ca: Path | None = None
    console: tuple[str, ...] = ("tty0", "ttyS0,115200")


class RescueSystem(Struct, frozen=True):
    """A rescue system that was made, with the sizes of its files in bytes."""

    kernel: int
    initramfs: int
    version: str
    packages: int


# docs/decisions.md#the-rescue-system-is-an-initramfs-of-packages
def build_rescue(
    folder: Path, agent: bytes, options: RescueOptions, *, now: int, announce: Callable[[str], object]
) -> RescueSystem:
    """Make the rescue system in a folder, which gets all of its files or none. `agent` is phimage-agent.pyz.

    `now`: Unix seconds; with the same packages the files are the same for the same time. `announce` gets what is being done.
    Raises SetupError and OSError.
    """
    sources = options.sources or tuple(_own_sources(options.suite))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as work:
        archive, made = Path(work) / "packages.tar", Path(work) / "made"
        made.mkdir()
        announce(f"unpacking packages of Debian {options.suite}, which takes some minutes")
        _install(archive, options, sources, now)
        announce("writing the initramfs")
        system = _write(archive, made, agent, options, now)
        if system.initramfs > MAX_INITRAMFS:
            size = f"{system.initramfs / (1 << 20):.0f} MiB"
            raise SetupError(f"the initramfs has {size}, more than {MAX_INITRAMFS >> 20}; leave out packages of --include")
        for name in (KERNEL, INITRAMFS, SCRIPT, PACKAGE_LIST):
            (made / name).replace(folder / name)
    return system


def _install(archive: Path, options: RescueOptions, sources: Sequence[str], now: int) -> None:
    packages = ",".join([options.kernel, *PACKAGES, *options.include])
    command = [
        *("mmdebstrap", "--quiet", "--variant=essential", "--format=tar", f"--include={packages}"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDES),
        *("--dpkgopt=force-unsafe-io", options.suite, str(archive), *sources),
    ]
    # Without root, mmdebstrap works in a user namespace.
    environment = os.environ | {"INITRD": "No", "SOURCE_DATE_EPOCH": str(now), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(  # noqa: S603  a list of words, no shell
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        raise SetupError("mmdebstrap is not installed; on Debian: apt-get install mmdebstrap") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"mmdebstrap took longer than {_SECONDS} s; check the way to {' '.join(sources)}") from None
    if done.returncode:
        reason = " / ".join(line for line in done.stderr.splitlines()[-5:] if line.strip())
        raise SetupError(f"mmdebstrap failed: {reason}; check --suite, --source, --kernel and --include")


def _own_sources(suite: str) -> Iterator[str]:
    """Where this machine gets its packages of the suite. Raises SetupError if it is no Debian of the suite."""
    template = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", template, "Created-By: Packages", "Origin: Debian"]
    found: list[str] = []
    if shutil.which(command[0]):
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
        found = [line for line in dict.fromkeys(told.splitlines()) if line.split()[2].startswith(suite)]
    if not found:
        example = f"deb http://deb.debian.org/debian {suite} main"
        raise SetupError(f'apt of this machine has no packages of Debian {suite}; give them: --source "{example}"')
    yield from found


def _write(archive: Path, folder: Path, agent: bytes, options: RescueOptions, now: int) -> RescueSystem:
    version, modules, status = _index(archive)
    names = re.findall(r"^Package: (\S+)$.*?^Version: (\S+)$", status, re.MULTILINE | re.DOTALL)
    (folder / PACKAGE_LIST).write_text("".join(f"{name} {number}\n" for name, number in names))
    consoles = " ".join(f"console={console}" for console in options.console)
    (folder / SCRIPT).write_text(boot_script(options.server, {"rdinit": f"/init {consoles}"}))
    with _compressed(folder / INITRAMFS) as file, tarfile.open(archive) as tar:
        cpio = CpioWriter(file, now)
        kernel = _copy(tar, cpio, modules)
        cpio.character_device("dev/console", 5, 1)
        _add_own(cpio, agent, options, now)
        cpio.close()
    (folder / KERNEL).write_bytes(kernel)
    return RescueSystem(len(kernel), (folder / INITRAMFS).stat().st_size, version, len(names))


def _index(archive: Path) -> tuple[str, frozenset[str], str]:
    """The kernel's version, the modules to keep, and the status of all packages. Raises SetupError."""
    found: dict[str, str] = {}
    version = ""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = _path(member)
            if match := MODULE_INDEX.fullmatch(path):
                version = match["version"]
                found["modules"] = _read(tar, member).decode()
            elif path == _STATUS:
                found["status"] = _read(tar, member).decode()
    if len(found) != 2:
        raise SetupError("the packages have no kernel with modules; give a package of a kernel as --kernel")
    return version, needed_modules(found["modules"]), found["status"]


def _copy(tar: tarfile.TarFile, cpio: CpioWriter, modules: frozenset[str]) -> bytes:
    """Copy what is kept, and return the kernel."""
    kernel = b""
    for member in tar:
        path = _path(member)
        if _KERNEL_PATH.fullmatch(path) and member.isreg():
            kernel = _read(tar, member)
        if not path or not is_kept(path, modules):
            continue
        mode = member.mode & 0o7777
        if member.isdir():
            cpio.folder(path, mode)
        elif member.issym():
            cpio.link(path, member.linkname)
        elif member.isreg() or member.islnk():  # a hard link gets the bytes again
            cpio.regular(path, _read(tar, member), mode)
    return kernel


def _add_own(cpio: CpioWriter, agent: bytes, options: RescueOptions, now: int) -> None:
    init = resources.files("phimage.rescue").joinpath("init").read_bytes()
    cpio.regular("init", init, 0o755)
    cpio.regular("usr/bin/phimage-agent", agent, 0o755)
    cpio.folder("etc/phimage")
    cpio.regular("etc/phimage/version", f"{__version__}\n".encode())
    cpio.regular("etc/phimage/made", f"{now}\n".encode())
    if options.ca is not None:
        cpio.regular("etc/phimage/ca.pem", options.ca.read_bytes())


@contextmanager
def _compressed(path: Path) -> Iterator[IO[bytes]]:
    parameter = zstd.CompressionParameter
    settings: dict[int, int] = {
        parameter.compression_level: _LEVEL,
        parameter.nb_workers: os.cpu_count() or 1,
        parameter.checksum_flag: 1,
    }
    with zstd.ZstdFile(path, "w", options=settings) as file:
        yield cast("IO[bytes]", file)


def _path(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").strip("/").removeprefix(".")


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()
