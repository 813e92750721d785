"""`phimage image`: the images that machines can run."""

from __future__ import annotations

from typing import Any

import click

from phimage.cli.image_hosts import note_hosts
from phimage.cli.output import console, json_option, minute, note, print_json, print_table, printable
from phimage.cli.profile import Session, signed
from phimage.cli.prompts import confirm
from phimage.cli.sections import ON_THE_MACHINE, OPERATORS, TENANTS_AND_OPERATORS, SectionedGroup
from phimage.model.explain import no_bytes
from phimage.model.image import ImageType, State

SECTIONS = {
    TENANTS_AND_OPERATORS: {
        "ls": "phimage.cli.image_list:ls",
        "latest": "phimage.cli.image_list:latest",
        "show": "phimage.cli.image:show",
        "explain": "phimage.cli.explain:explain",
        "matrix": "phimage.cli.explain:matrix",
        "url": "phimage.cli.download:url",
        "download": "phimage.cli.download:download",
        "deploy": "phimage.cli.image_deploy:deploy",
        "publish": "phimage.cli.publish:publish",
        "wait": "phimage.cli.publish:wait",
        "progress": "phimage.cli.image_progress:progress",
        "set": "phimage.cli.image_set:set_",
        "hosts": "phimage.cli.image_hosts:hosts",
        "rm": "phimage.cli.image:rm",
    },
    OPERATORS: {
        "restore": "phimage.cli.image:restore",
    },
    ON_THE_MACHINE: {"verify": "phimage.cli.verify:verify"},
}


@click.group(cls=SectionedGroup, sections=SECTIONS, short_help="List, show, download and publish images.")
def image() -> None:
    """List, show, download and publish images."""


@click.command(short_help="Show all details of an image.")
@click.argument("id")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; required for a sub-user.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
@json_option
@signed
def show(session: Session, id: str, project: str | None, rev: int | None, as_json: bool) -> None:
    """Show all details of an image: its bytes, its zones, and the machine types and clusters that it runs on.

    \b
    Example:
      phimage image show pimg-cs-xev4rz
    """
    client = session.client if rev is None else session.client.at(rev)
    fields = client.call("GetPHostImage", ImageId=id, ProjectId=session.given("project", project)).fields
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    image = fields["Image"]
    out = console()
    lines = {
        "image": image["ImageId"],
        "name": image["ImageName"],
        "family": fields["Family"] or "-",
        "version": image["Version"] or "-",
        "system": f"{image['OsName']} ({image['OsType']})",
        "type": image["ImageType"],
        "state": image["State"] + (", deprecated: found by its id, otherwise not listed" if fields["Deprecated"] else ""),
        "size": f"{image['ImageSize']} GB",
        "created": minute(image["CreateTime"]),
        "about": image["ImageDescription"] or "-",
        **_deprecation_lines(fields),
        "labels": ", ".join(f"{key}={value}" for key, value in fields["Labels"].items()) or "-",
        "zones": ", ".join(fields["Zones"]) or "-",
        **_bytes_lines(fields),
    }
    for name, text in lines.items():
        out.print(f"{name:<9}{printable(text)}", soft_wrap=False)
    out.print()
    print_table(
        ("MACHINE TYPE", "CLUSTERS", "OFFERED IN"),
        ((run["MachineType"], ", ".join(run["Clusters"]), ", ".join(run["Zones"]) or "-") for run in fields["Runs"]),
        empty="supports no machine type",
    )


def _deprecation_lines(fields: dict[str, Any]) -> dict[str, str]:
    """Lines about the deprecation of an image, past or announced, and about its successor."""
    lines = {}
    if at := fields["DeprecationTime"]:
        lines["ends"] = f"deprecated {'since' if fields['Deprecated'] else 'from'} {minute(at)}"
    if fields["Successor"]:
        lines["instead"] = f"use {fields['Successor']}"
    return lines


def _bytes_lines(fields: dict[str, Any]) -> dict[str, str]:
    """Lines about the bytes of an image."""
    lines = {}
    disk, origin, image = fields["Disk"], fields["Origin"], fields["Image"]
    if disk is None:
        lines["bytes"] = no_bytes(ImageType(image["ImageType"]), State(image["State"]))
    else:
        boots = " and ".join(disk["Boot"]) or "nothing known"
        system = f", {disk['System']} {disk['Architecture']}".rstrip() if disk["System"] else ""
        lines["disk"] = f"{disk['Size']} bytes, {disk['Table'] or 'no'} partition table, boots with {boots}{system}"
        lines["digest"] = disk["Digest"]
    if origin is not None:
        lines["from"] = f"{origin['Source']}, {origin['Format'] or 'not stored yet'}, {origin['Digest'] or 'no digest yet'}"
        if origin["DigestOrigin"]:
            lines["from"] += f" ({origin['DigestOrigin']})"
        if origin["Override"]:
            lines["override"] = ", ".join(origin["Override"])
        if origin["Failure"]:
            lines["failure"] = origin["Failure"]
        if origin["Findings"]:
            lines["remarks"] = "; ".join(origin["Findings"])
    return lines


@click.command(short_help="Remove an image.")
@click.argument("id")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the image.")
@click.option("--withdraw", is_flag=True, help="Remove any image, also a base image, also one being published; operators only.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and name the hosts that run it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@signed
def rm(
    session: Session,
    id: str,
    region: str | None,
    zone: str | None,
    project: str | None,
    withdraw: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove a custom image of the project, or with --withdraw, as the operator, any image.

    It disappears at once, and its id is never given to another image. A later `phimage store gc` removes its bytes, unless
    another image needs them; until then the operator can bring it back with `phimage image restore`. Hosts that run it keep
    it, and one that is being installed with it is installed to the end; they are named before the question.

    \b
    Examples:
      phimage image rm pimg-os-xev4rz2k --zone cn-bj2-02
      phimage image rm --withdraw pimg-os-xev4rz2k
      phimage image rm --withdraw pimg-os-xev4rz2k --dry-run
    """
    action, given = "WithdrawPHostImage", {}
    if not withdraw:
        places = {"Region": ("region", region), "Zone": ("zone", zone), "ProjectId": ("project", project)}
        action, given = "TerminatePHostImage", {name: session.given(*place) for name, place in places.items()}
    if dry_run or not yes:
        note_hosts(id, session.client.call(action, ImageId=id, DryRun=True, **given).fields["HostSet"])
    if dry_run:
        note(f"{id} would be removed")
        return
    if not yes:
        confirm(f"Remove {id}?", "use --yes")
    removed = session.client.call(action, ImageId=id, **given).fields
    if yes:
        note_hosts(id, removed["HostSet"])
    note(f"{id} was removed")


@click.command(short_help="Bring back a removed image.")
@click.argument("id")
@signed
def restore(session: Session, id: str) -> None:
    """Bring back an image that was withdrawn or removed, unchanged. Needs a key of the operator.

    This works until `phimage store gc` has removed the bytes: by default a day after the removal at the earliest, see its
    --grace.

    \b
    Example:
      phimage image restore pimg-os-xev4rz2k
    """
    revision = session.client.call("RestorePHostImage", ImageId=id).fields["Revision"]
    note(f"{id} is back; revision {revision}")
