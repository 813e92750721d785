"""`phimage image verify`: every byte that images need, read and compared."""

from __future__ import annotations

import sys
import time

import click

from phimage.cli.installation import of_installation, patience
from phimage.cli.output import json_option, note, print_json
from phimage.cli.progress import Progress
from phimage.settings import Settings

BAD = 1
"""Exit code when something is wrong."""


@click.command(short_help="Verify the stored bytes of images.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All images.")
@click.option("--whole-disk", is_flag=True, help="Compute each disk's SHA-256 too, which reads all of it, zeros included.")
@click.option("--quarantine", is_flag=True, help="Put damaged chunks aside, so that publishing the same again mends them.")
@of_installation
@json_option
def verify(settings: Settings, ids: tuple[str, ...], all_: bool, whole_disk: bool, quarantine: bool, as_json: bool) -> None:
    """Read every chunk of images and compare it with its SHA-256; chunks that images share are read once.

    It names each chunk that is damaged, missing or unreadable, and every image that it hurts. It also verifies this machine's
    cached zstd files of those images, which the server sends without reading them. A damaged one is named and removed, and
    cached again from the chunks. Exits 0 if all is well, 1 if not. It reads the store of this machine's installation.

    \b
    Examples:
      phimage image verify --all --data-dir /var/lib/phimage
      phimage image verify pimg-cs-xev4rz2k
    """
    from phimage import care
    from phimage.bootstrap import open_zstd_cache, opened_store
    from phimage.chunks.scrub import Progress as Scrubbed
    from phimage.model.ids import ImageId

    if bool(ids) == all_:
        raise click.UsageError("name images, or give --all")
    findings = []
    verified = chunks = 0
    damaged_files = []
    with opened_store(settings, patience()) as (catalog, store), Progress(quiet=as_json) as progress:
        images = [ImageId(id) for id in ids]
        told = care.verify(catalog, store, images, whole_disk=whole_disk, quarantine=quarantine, now=time.time())
        for one in told:
            if isinstance(one, Scrubbed):
                verified, chunks = one.bytes, one.chunks
                share = one.bytes * one.all_chunks // one.chunks
                progress.at("verifying", one.bytes, share)
            else:
                findings.append(one)
        verified_cache = 0
        for file, good in open_zstd_cache(settings, store).verify(care.manifests_of(catalog, images)):
            verified_cache += file.size
            progress.at("zstd cache", verified_cache, None)
            if not good:
                damaged_files.append(file.path.name)
    if as_json:
        print_json(
            {
                "VerifiedBytes": verified,
                "VerifiedChunks": chunks,
                "FindingSet": [
                    {
                        "Kind": one.finding.kind,
                        "Images": one.images,
                        "Manifest": one.finding.manifest,
                        "Chunk": one.finding.chunk,
                        "Index": one.finding.index,
                        "Offset": one.finding.offset,
                        "Reason": one.finding.reason,
                    }
                    for one in findings
                ],
                "RemovedZstdFiles": damaged_files,
            }
        )
    else:
        for one in findings:
            found = one.finding
            where = (
                f"chunk {found.index} at offset {found.offset} ({found.chunk})" if found.chunk else f"manifest {found.manifest}"
            )
            click.echo(f"{', '.join(one.images)}: {where} is {found.kind}: {found.reason}")
        for name in damaged_files:
            click.echo(f"cached zstd file {name} is corrupt: removed; it is cached again from the chunks")
        note(f"{verified} bytes in {chunks} chunks are as they should be, {len(findings) + len(damaged_files)} findings")
    sys.exit(BAD if findings or damaged_files else 0)
