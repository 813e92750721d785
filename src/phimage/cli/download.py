"""`phimage image url` and `phimage image download`: the bytes of an image."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import urllib3

from phimage.cli.exit_codes import file_errors
from phimage.cli.output import echo, json_option, minute, note, print_json
from phimage.cli.profile import Session, signed
from phimage.cli.progress import Progress
from phimage.errors import ClientError, Unreachable

FORMS = {"raw": "RawUrl", "zst": "ZstdUrl", "qcow2": "Qcow2Url", "sha256": "Sha256Url", "manifest": "ManifestUrl"}
PIECE = 1 << 20


@click.command(short_help="Print a time-limited URL for an image's bytes.")
@click.argument("id")
@click.option("--form", type=click.Choice(list(FORMS)), default="raw", show_default=True, help="Form of the disk.")
@click.option("--seconds", type=click.IntRange(1), default=3600, show_default=True, help="How long the URL works.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@json_option
@signed
def url(session: Session, id: str, form: str, seconds: int, project: str | None, as_json: bool) -> None:
    """Print a URL that downloads an image without a key, with any HTTP client. --json prints the URLs of all forms.

    \b
    Examples:
      curl -fLo disk.raw "$(phimage image url pimg-os-xev4rz2k)"
      curl -f "$(phimage image url pimg-os-xev4rz2k --form zst)" | zstd -d | dd of=/dev/sdX bs=4M
    """
    urls = _urls(session, id, project, seconds)
    if as_json:
        print_json({name: value for name, value in urls.items() if name not in ("RetCode", "Action")})
        return
    echo(urls[FORMS[form]])
    until = minute(urls["ExpireTime"])
    note(f"works until {until}; treat it as a password: any bearer can download the image")


@click.command(short_help="Download and verify an image's disk.")
@click.argument("id")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: ID.raw]")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@signed
def download(session: Session, id: str, output: Path | None, project: str | None, force: bool) -> None:
    """Download the raw disk of an image into a file and verify its SHA-256. An interrupted download resumes.

    The file is called NAME.part until it is complete and verified. Zeros become holes. An existing file stays, unless --force
    replaces it.

    \b
    Example:
      phimage image download pimg-os-xev4rz2k -o disk.raw
    """
    target = output or Path(f"{id}.raw")
    part = target.with_name(f"{target.name}.part")
    if not target.parent.is_dir():
        raise ClientError(f"{target.parent} is not a folder: create it, or choose another with -o")
    if target.exists() and not target.is_file():  # the finished file would take its name, and leave the disk as it is
        raise ClientError(f"{target} is not a file: choose another with -o; `phimage image deploy` writes an image to a disk")
    if target.exists() and not force:
        raise ClientError(f"{target} exists: choose another file with -o, or replace it with --force")
    image = _urls(session, id, project, 24 * 3600)
    whole, size = sha256(), int(image["DiskSize"])
    with (
        Progress() as progress,
        file_errors(part, "what was written is kept: correct that and run the same command again"),
        part.open("a+b") as file,
    ):
        file.seek(0)
        while piece := file.read(PIECE):
            whole.update(piece)
            progress.at("reading", file.tell(), None)
        done = file.tell()
        if done > size:
            raise ClientError(f"{part} is larger than the image, so it belongs to another one: remove it")
        for piece in _pieces(image["RawUrl"], done, size, image["Digest"].partition(":")[2]):
            whole.update(piece)
            if piece.strip(b"\0"):
                file.write(piece)
            else:  # a hole
                file.truncate(done + len(piece))
                file.seek(0, 2)
            done += len(piece)
            progress.at("downloading", done, size)
    digest = f"sha256:{whole.hexdigest()}"
    if done != size:
        raise Unreachable(f"the connection broke after {done} of {size} bytes, which are kept: run it again to resume")
    if digest != image["Digest"]:
        part.unlink()
        raise ClientError(f"the downloaded bytes have {digest}, the image has {image['Digest']}; they were removed: try again")
    with file_errors(target):
        part.replace(target)
    echo(str(target))
    note(f"{size} bytes, {digest}")


def _urls(session: Session, id: str, project: str | None, seconds: int) -> dict[str, Any]:
    call = session.client.call
    return call("GetPHostImageDownloadUrl", ImageId=id, ProjectId=session.given("project", project), Seconds=seconds).fields


def _pieces(url: str, start: int, size: int, digest: str) -> Any:
    """The bytes from `start` until the connection ends or breaks. The entity tag, the disk's digest, excludes other disks."""
    if start == size:
        return
    headers = {"Range": f"bytes={start}-", "If-Match": f'"{digest}"', "Accept-Encoding": "identity"} if start else {}
    try:
        response = urllib3.request("GET", url, headers=headers, preload_content=False, retries=False, timeout=60)
        with response:
            if response.status not in (200, 206) or (start and response.status != 206):
                reason = response.read(500).decode("utf-8", "replace")
                raise ClientError(f"the server does not send the image: HTTP {response.status} {reason}")
            yield from response.stream(PIECE)
    except urllib3.exceptions.HTTPError:
        return
