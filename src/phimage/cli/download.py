"""`phimage image url` and `phimage image download`: the bytes of an image."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import urllib3

from phimage.cli.ending import naming
from phimage.cli.output import json_option, note, print_json
from phimage.cli.profile import Session, signed
from phimage.cli.progress import Progress
from phimage.errors import ClientError, Unreachable

FORMS = {"raw": "RawUrl", "zst": "ZstdUrl", "qcow2": "Qcow2Url", "sha256": "Sha256Url", "manifest": "ManifestUrl"}
PIECE = 1 << 20


@click.command(short_help="Print a time-limited URL for an image's bytes.")
@click.argument("id")
@click.option("--form", type=click.Choice(list(FORMS)), default="raw", show_default=True, help="Which form of the disk.")
@click.option("--seconds", type=click.IntRange(1), default=3600, show_default=True, help="How long it works.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@json_option
@signed
def url(session: Session, id: str, form: str, seconds: int, project: str | None, as_json: bool) -> None:
    """Print a URL with which anything that speaks HTTP can download an image, without a key. --json has those of all forms.

    \b
    Examples:
      curl -fLo disk.raw "$(phimage image url pimg-cs-xev4rz2k)"
      curl -f "$(phimage image url pimg-cs-xev4rz2k --form zst)" | zstd -d | dd of=/dev/sdX bs=4M
    """
    found = _urls(session, id, project, seconds)
    if as_json:
        print_json({name: value for name, value in found.items() if name not in ("RetCode", "Action")})
        return
    click.echo(found[FORMS[form]])
    until = datetime.fromtimestamp(found["ExpireTime"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    note(f"works until {until}; who has it can download the image")


@click.command(short_help="Download an image's disk, verified.")
@click.argument("id")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: ID.raw]")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@signed
def download(session: Session, id: str, output: Path | None, project: str | None) -> None:
    """Download the raw disk of an image into a file, go on where an earlier try stopped, and verify its SHA-256.

    The file has its name only when it is whole and right; until then it is NAME.part. Zeros become holes.

    \b
    Example:
      phimage image download pimg-cs-xev4rz2k -o disk.raw
    """
    target = output or Path(f"{id}.raw")
    part = target.with_name(f"{target.name}.part")
    if not target.parent.is_dir():
        raise ClientError(f"{target.parent} is not a folder: make it, or choose another with -o")
    found = _urls(session, id, project, 24 * 3600)
    whole, size = sha256(), int(found["DiskSize"])
    with (
        Progress() as progress,
        naming(part, "what was written is kept: mend that and run the same again"),
        part.open("a+b") as file,
    ):
        file.seek(0)
        while piece := file.read(PIECE):
            whole.update(piece)
            progress.at("reading", file.tell(), None)
        done = file.tell()
        if done > size:
            raise ClientError(f"{part} is larger than the image: it is of another one; remove it")
        for piece in _pieces(found["RawUrl"], done, size, found["Digest"].partition(":")[2]):
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
        raise Unreachable(f"the connection broke after {done} of {size} bytes, which are kept: run the same again to go on")
    if digest != found["Digest"]:
        part.unlink()
        raise ClientError(f"the bytes have {digest}, the image has {found['Digest']}; nothing is kept of them, try again")
    with naming(target):
        part.replace(target)
    click.echo(str(target))
    note(f"{size} bytes, {digest}")


def _urls(session: Session, id: str, project: str | None, seconds: int) -> dict[str, Any]:
    call = session.client.call
    return call("GetPHostImageDownloadUrl", ImageId=id, ProjectId=session.given("project", project), Seconds=seconds).fields


def _pieces(url: str, start: int, size: int, digest: str) -> Any:
    """The bytes from a place on, as far as they come. The entity tag is the disk's digest, so no other disk's can come."""
    if start == size:
        return
    headers = {"Range": f"bytes={start}-", "If-Match": f'"{digest}"', "Accept-Encoding": "identity"} if start else {}
    try:
        answer = urllib3.request("GET", url, headers=headers, preload_content=False, retries=False, timeout=60)
        with answer:
            if answer.status not in (200, 206) or (start and answer.status != 206):
                raise ClientError(
                    f"the server does not send the image: HTTP {answer.status} {answer.read(500).decode('utf-8', 'replace')}"
                )
            yield from answer.stream(PIECE)
    except urllib3.exceptions.HTTPError:
        return
