"""`phimage image deploy`: what the agent does, for a person in a rescue shell who has a key."""

from __future__ import annotations

from pathlib import Path

import click

from phimage.cli.profile import Session, signed

SECONDS = 24 * 3600
"""How long the URLs of one deployment work. New ones are requested when they expire."""


@click.command(short_help="Write an image to a disk of this machine.")
@click.argument("id")
@click.argument("disk")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@click.option("--read-back/--no-read-back", default=True, show_default=True, help="Read back all that was written.")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@click.option(
    "--yes", metavar="SERIAL", default="", help="Serial number of the disk that may be overwritten without a question."
)
@click.option("--sector-size", type=click.Choice(["512", "4096"]), help="Sector size of an image without GPT.")
@click.option("--manifest", metavar="SHA256", default="", help="Expected digest of the image's manifest.")
@click.option(
    "--patience", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds that the server may be away."
)
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="File for the receipt, a JSON object.")
@signed
def deploy(
    session: Session,
    id: str,
    disk: str,
    project: str | None,
    read_back: bool,
    dry_run: bool,
    yes: str,
    sector_size: str | None,
    manifest: str,
    patience: float,
    receipt: Path | None,
) -> None:
    """Write an image to a disk of this machine, and verify it. DISK is /dev/..., wwn:..., serial:... or size:MIN-MAX.

    Every chunk is verified before it is written, zeros are written too, and the partition table comes last: until all of it is
    right, the disk cannot boot. After an interruption the same command goes on. It refuses disks that are in use, removable,
    read-only, too small, or of another sector size. Needs root.

    \b
    Examples:
      phimage image deploy pimg-os-xev4rz2k serial:S4EVNX0R123456 --dry-run
      phimage image deploy pimg-os-xev4rz2k /dev/nvme0n1
    """
    from phimage.agent.deploy_command import DeployOptions, deploy_by_hand
    from phimage.agent.image_source import ImageUrls, image_urls

    def urls() -> ImageUrls:
        given = {"ImageId": id, "ProjectId": session.given("project", project), "Seconds": SECONDS}
        return image_urls(session.client.call("GetPHostImageDownloadUrl", **given).fields["ZstdUrl"])

    options = DeployOptions(
        read_back=read_back,
        dry_run=dry_run,
        yes=yes,
        sector_size=int(sector_size or 0),
        patience=patience,
        receipt=str(receipt or ""),
    )
    deploy_by_hand(urls(), manifest.removeprefix("sha256:"), disk, options, renew=urls)
