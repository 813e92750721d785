"""`phimage image verify`: a scrub of the chunks and the frame lists of images."""

from __future__ import annotations

import sys
import time

import click

from phimage.cli.exit_codes import FINDINGS
from phimage.cli.installation import of_installation, patience
from phimage.cli.output import echo, json_option, note, print_json
from phimage.cli.progress import Progress
from phimage.settings import Settings


@click.command(short_help="Verify the stored bytes of images.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="Verify all images.")
@click.option("--whole-disk", is_flag=True, help="Also compute the SHA-256 of each whole disk, zeros included; slower.")
@click.option("--quarantine", is_flag=True, help="Move damaged chunks aside; publishing the same bytes again repairs them.")
@of_installation
@json_option
def verify(settings: Settings, ids: tuple[str, ...], all_: bool, whole_disk: bool, quarantine: bool, as_json: bool) -> None:
    """Compare every chunk of images with its SHA-256. Chunks that images share are read once.

    It prints each chunk that is damaged, missing or unreadable, with the images that need it. It also verifies the frame lists,
    by which .raw.zst files are sent. A damaged list is removed and made again from the chunks. Exits with 1 if there are
    findings. It reads the store of the installation on this machine.

    \b
    Examples:
      phimage image verify --all --data-dir /var/lib/phimage
      phimage image verify pimg-os-xev4rz2k
    """
    from phimage.chunks.scrub import ScrubProgress as Scrubbed
    from phimage.installation import opened_store
    from phimage.maintenance import verify as maintenance
    from phimage.model.ids import ImageId

    if bool(ids) == all_:
        raise click.UsageError("name images or give --all, not both")
    findings = []
    verified = chunks = 0
    with opened_store(settings, patience()) as (catalog, store), Progress(quiet=as_json) as progress:
        images = [ImageId(id) for id in ids]
        results = maintenance.verify(catalog, store, images, whole_disk=whole_disk, quarantine=quarantine, now=time.time())
        for one in results:
            if isinstance(one, Scrubbed):
                verified, chunks = one.bytes, one.chunks
                share = one.bytes * one.all_chunks // one.chunks
                progress.at("verifying", one.bytes, share)
            else:
                findings.append(one)
        damaged_lists = list(maintenance.remove_damaged_frame_lists(catalog, store, images))
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
                "RemovedFrameLists": damaged_lists,
            }
        )
    else:
        for one in findings:
            finding = one.finding
            where = (
                f"chunk {finding.index} at offset {finding.offset} ({finding.chunk})"
                if finding.chunk
                else f"manifest {finding.manifest}"
            )
            echo(f"{', '.join(one.images)}: {where} is {finding.kind}: {finding.reason}")
        for manifest in damaged_lists:
            echo(f"the frame list of {manifest} is corrupt: removed; it is made again from the chunks")
        note(f"{verified} bytes in {chunks} chunks are correct, {len(findings) + len(damaged_lists)} findings")
    sys.exit(FINDINGS if findings or damaged_lists else 0)
