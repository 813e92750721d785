"""`phimage agent rescue`: the system in memory from which a host is deployed and captured."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from phimage.cli.exit_codes import file_errors
from phimage.cli.output import echo, json_option, note, print_json


@click.command(short_help="Make a rescue system that boots over the network.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--server", required=True, metavar="URL", help="Address that the agent calls.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Certificates that the agent trusts.")
@click.option("--suite", default="bookworm", show_default=True, help="Release of Debian.")
@click.option("--source", "sources", multiple=True, metavar="LINE", help='Line of APT, such as "deb URL SUITE main".')
@click.option("--kernel", default="linux-image-amd64", show_default=True, metavar="PACKAGE", help="Package of the kernel.")
@click.option("--include", multiple=True, metavar="PACKAGE", help="A package more, such as one of firmware.")
@json_option
def rescue(
    folder: Path,
    server: str,
    ca: Path | None,
    suite: str,
    sources: tuple[str, ...],
    kernel: str,
    include: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a rescue system in a folder: vmlinuz, initrd.img, boot.ipxe, and packages.txt with what is in it.

    A host boots it over the network and runs it in memory. It has the agent of this version, drivers of disks and network
    cards, and a shell on the console. It is made of Debian's packages, from the sources of this machine unless --source names
    others; mmdebstrap must be installed, and root is not needed where user namespaces are allowed.

    \b
    Examples:
      phimage agent rescue /srv/http/rescue --server https://images.example.com
      phimage agent rescue rescue --server https://10.0.0.5 --ca ca.pem \\
        --source "deb http://deb.debian.org/debian bookworm main non-free-firmware" --include firmware-bnx2
    """
    from phimage.agent_archive import make_archive
    from phimage.http_client import ApiConnections, InvalidAddress, parse_address
    from phimage.rescue.build import RescueOptions, build_rescue

    try:
        private = parse_address(server).is_private
    except InvalidAddress:
        raise click.UsageError(f"--server {server} is not an address; expected https://HOST") from None
    if not private:
        raise click.UsageError(
            f"--server {server}: an agent enrols over https only; give an https address, with --ca if need be"
        )
    if ca is not None:
        ApiConnections(0, str(ca)).close()  # reads the file as the agent does, which would fail at each boot
    options = RescueOptions(server, suite, kernel, sources, include, ca)
    now = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    with file_errors(folder):
        made = build_rescue(folder, make_archive(), options, now=now, announce=note)
    if as_json:
        print_json(
            {"Kernel": made.version, "KernelBytes": made.kernel, "InitramfsBytes": made.initramfs, "Packages": made.packages}
        )
        return
    echo(str(folder))
    note(f"Linux {made.version} and {made.packages} packages, {made.initramfs / (1 << 20):.0f} MiB of initramfs")
    note(f"serve {folder} over http, and boot {folder / 'boot.ipxe'}")
