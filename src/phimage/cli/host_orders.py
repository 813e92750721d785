"""`phimage host capture` and `phimage host reinstall`: what tenants order of their hosts."""

from __future__ import annotations

import click

from phimage.cli.host import project_option
from phimage.cli.output import echo, json_option, note, print_json
from phimage.cli.profile import Session, signed
from phimage.cli.prompts import confirm

_region_option = click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
_zone_option = click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")


@click.command(short_help="Make an image of a host.")
@click.argument("id")
@click.argument("name")
@click.option("--about", default=None, help="Description of the image.")
@click.option("--trim", is_flag=True, help="End the image after the last partition, so that it fits smaller disks.")
@_region_option
@_zone_option
@project_option
@json_option
@signed
def capture(
    session: Session,
    id: str,
    name: str,
    about: str | None,
    trim: bool,
    region: str | None,
    zone: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Make a custom image of the disk of a stopped host, and print its id. The host runs the rescue system meanwhile.

    `phimage image progress` shows how far it is, `phimage image wait` waits for the end.

    \b
    Example:
      phimage host capture upm-4k2xqz7a "web server, patched"
    """
    fields = session.client.call(
        "CreatePHostImage",
        PHostId=id,
        ImageName=name,
        ImageDescription=about,
        Trim=trim or None,
        Region=session.given("region", region),
        Zone=session.given("zone", zone),
        ProjectId=session.given("project", project),
    ).fields
    if as_json:
        print_json({"ImageId": fields["ImageId"]})
    else:
        echo(fields["ImageId"])


@click.command(short_help="Install an image on a host.")
@click.argument("id")
@click.argument("image", required=False)
@click.option("--name", help="New name of the host.")
@click.option("--remark", help="New remark of the host.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_region_option
@_zone_option
@project_option
@json_option
@signed
def reinstall(
    session: Session,
    id: str,
    image: str | None,
    name: str | None,
    remark: str | None,
    yes: bool,
    region: str | None,
    zone: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Install an image on the system disk of a stopped host; without IMAGE the one that it has. Everything on it is lost.

    \b
    Example:
      phimage host reinstall upm-4k2xqz7a pimg-os-xev4rz2k
    """
    if not yes:
        confirm(f"Overwrite the system disk of {id}?", "use --yes")
    fields = session.client.call(
        "ReinstallPHost",
        PHostId=id,
        ImageId=image,
        Name=name,
        Remark=remark,
        Region=session.given("region", region),
        Zone=session.given("zone", zone),
        ProjectId=session.given("project", project),
    ).fields
    if as_json:
        print_json({"PHostId": fields["PHostId"]})
    else:
        note(f"{fields['PHostId']} is being installed; `phimage host show {fields['PHostId']}` shows how far it is")
