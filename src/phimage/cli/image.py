"""`phimage image`: the images that machines can run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from phimage.cli.output import console, json_option, note, print_json, print_table
from phimage.cli.profile import Session, signed
from phimage.client import ActionResponse, Client

PAGE = 100


MORE = {
    "publish": "phimage.cli.publish:publish",
    "wait": "phimage.cli.publish:wait",
    "url": "phimage.cli.download:url",
    "download": "phimage.cli.download:download",
    "verify": "phimage.cli.verify:verify",
}
"""Commands of this noun that are in files of their own."""


class _WithMore(click.Group):
    """A group that imports those commands when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands."""
        return [*super().list_commands(ctx), *MORE]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A command by name."""
        if name not in MORE:
            return super().get_command(ctx, name)
        module, _, attribute = MORE[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_WithMore, short_help="List, show, publish and download images.")
def image() -> None:
    """List, show, publish and download images."""


@image.command("ls", short_help="List the images of a zone.")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@click.option("--type", "type_", type=click.Choice(["Base", "Custom"], case_sensitive=False), help="Base or Custom.")
@click.option("--mine", is_flag=True, help="Only images of the project: the same as --type Custom.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this image; can be given again.")
@click.option("--machine-type", metavar="TYPE", help="Only images that this machine type can run, such as DB-2.")
@click.option("--cluster", help="Network cluster of the machine, such as 25G.")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="How many to skip.")
@click.option("--limit", type=click.IntRange(0), help="Most to list.  [default: 20]")
@click.option("--all", "all_", is_flag=True, help="List to the end, page by page.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="List the catalogue as revision N had it.")
@json_option
@signed
def ls(
    session: Session,
    region: str | None,
    zone: str | None,
    project: str | None,
    type_: str | None,
    mine: bool,
    ids: tuple[str, ...],
    machine_type: str | None,
    cluster: str | None,
    offset: int,
    limit: int | None,
    all_: bool,
    rev: int | None,
    as_json: bool,
) -> None:
    """List the images that machines of a zone can run.

    \b
    Examples:
      phimage image ls --region cn-bj2 --zone cn-bj2-02
      phimage image ls --zone cn-bj2-02 --machine-type Base-SSD-V5 --cluster 25G
      phimage image ls --zone cn-bj2-02 --mine --all --json
    """
    if mine and type_ == "Base":
        raise click.UsageError("--mine lists custom images; --type Base lists none of them")
    params: dict[str, Any] = {
        "Region": session.given("region", region),
        "Zone": session.given("zone", zone),
        "ProjectId": session.given("project", project),
        "ImageType": "Custom" if mine else type_,
        "ImageId": ids,
        "MachineType": machine_type,
        "Cluster": cluster,
    }
    client = session.client if rev is None else session.client.at(rev)
    if all_:
        pages = list(_pages(client, params, offset, limit or PAGE))
        answer = pages[0]
        images = [image for page in pages for image in page.fields["ImageSet"]]
    else:
        answer = client.call("DescribePHostImage", **params, Offset=offset, Limit=limit)
        images = answer.fields["ImageSet"]
    total, revision = answer.fields["TotalCount"], answer.revision
    if as_json:
        print_json({"TotalCount": total, "Revision": revision, "ImageSet": images})
        return
    print_images(images)
    end = offset + len(images)
    more = f"; more with --offset {end} or --all" if end < total and images else ""
    note(f"{len(images)} of {total} images at revision {revision}{more}")
    if answer.newer:
        note(f"newer versions are hidden by the pin to a past revision: {answer.newer}")


def _pages(client: Client, params: dict[str, Any], offset: int, limit: int) -> Iterator[ActionResponse]:
    """Every page, all of the revision that the first one reflects, so that nothing is missed or repeated."""
    while True:
        answer = client.call("DescribePHostImage", **params, Offset=offset, Limit=limit)
        yield answer
        found = len(answer.fields["ImageSet"])
        offset += found
        if not found or offset >= answer.fields["TotalCount"]:
            return
        if answer.revision is not None and "/rev/" not in client.endpoint:
            client = client.at(answer.revision)


WIDE = 120
"""Columns of a terminal from which on a list shows everything; a narrower one leaves out what `image show` has."""


def print_images(images: list[dict[str, Any]]) -> None:
    """Print images as a table."""
    wide = console().width >= WIDE
    columns = ["IMAGE ID", "TYPE", "STATE", "CREATED", "NAME"]
    if wide:
        columns += ["VERSION", "GB", "SUPPORT"]
    rows = []
    for image in images:
        row = [image["ImageId"], image["ImageType"], image["State"], _day(image["CreateTime"]), image["ImageName"]]
        if wide:
            row += [image["Version"], str(image["ImageSize"]), _few(image["Support"])]
        rows.append(row)
    print_table(columns, rows, whole=4, empty="no images")


@image.command(short_help="Show one image whole.")
@click.argument("id")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="As revision N had it.")
@json_option
@signed
def show(session: Session, id: str, project: str | None, rev: int | None, as_json: bool) -> None:
    """Show one image whole: where it is placed, and which machine types run it on which clusters.

    \b
    Example:
      phimage image show pimg-cs-xev4rz
    """
    client = session.client if rev is None else session.client.at(rev)
    fields = client.call("GetPHostImage", ImageId=id, ProjectId=session.given("project", project)).fields
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    found = fields["Image"]
    out = console()
    lines = {
        "image": found["ImageId"],
        "name": found["ImageName"],
        "family": fields["Family"] or "-",
        "version": found["Version"] or "-",
        "system": f"{found['OsName']} ({found['OsType']})",
        "type": found["ImageType"],
        "state": found["State"] + (", deprecated: answers by its id, is not listed" if fields["Deprecated"] else ""),
        "size": f"{found['ImageSize']} GB",
        "created": datetime.fromtimestamp(int(found["CreateTime"]), UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "about": found["ImageDescription"] or "-",
        "zones": ", ".join(fields["Zones"]) or "-",
        **_bytes_lines(fields),
    }
    for name, text in lines.items():
        out.print(f"{name:<9}{text}", soft_wrap=False)
    out.print()
    print_table(
        ("MACHINE TYPE", "CLUSTERS", "OFFERED IN"),
        ((run["MachineType"], ", ".join(run["Clusters"]), ", ".join(run["Zones"]) or "-") for run in fields["Runs"]),
        empty="supports no machine type",
    )


def _bytes_lines(fields: dict[str, Any]) -> dict[str, str]:
    """What is known of the bytes of an image."""
    lines = {}
    disk, origin = fields["Disk"], fields["Origin"]
    if disk is not None:
        boots = " and ".join(disk["Boot"]) or "nothing known"
        system = f", {disk['System']} {disk['Architecture']}".rstrip() if disk["System"] else ""
        lines["disk"] = f"{disk['Size']} bytes, {disk['Table'] or 'no'} partition table, boots with {boots}{system}"
        lines["digest"] = disk["Digest"]
    if origin is not None:
        lines["from"] = f"{origin['Source']}, {origin['Format'] or 'not here yet'}, {origin['Digest'] or 'no digest yet'}"
        if origin["DigestOrigin"]:
            lines["from"] += f" ({origin['DigestOrigin']})"
        if origin["Override"]:
            lines["override"] = ", ".join(origin["Override"])
        if origin["Failure"]:
            lines["failure"] = origin["Failure"]
        if origin["Findings"]:
            lines["remarks"] = "; ".join(origin["Findings"])
    return lines


@image.command(short_help="Take an image away.")
@click.argument("id")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the image.")
@click.option("--withdraw", is_flag=True, help="As the operator: any image, also a base image, also one being published.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@signed
def rm(session: Session, id: str, region: str | None, zone: str | None, project: str | None, withdraw: bool, yes: bool) -> None:
    """Take an image away: a custom image of the project, or with --withdraw, as the operator, any image.

    It is gone at once and its id is never given to another image. Its bytes go with a later `phimage store gc`, unless
    another image needs them; until then the operator can bring it back with `phimage image restore`.

    \b
    Examples:
      phimage image rm pimg-cs-xev4rz2k --zone cn-bj2-02
      phimage image rm --withdraw pimg-cs-xev4rz2k
    """
    if not yes:
        click.confirm(f"Take {id} away?", abort=True, err=True)
    if withdraw:
        session.client.call("WithdrawPHostImage", ImageId=id)
    else:
        session.client.call(
            "TerminatePHostImage",
            ImageId=id,
            Region=session.given("region", region),
            Zone=session.given("zone", zone),
            ProjectId=session.given("project", project),
        )
    note(f"{id} is gone")


@image.command(short_help="Bring back an image that was taken away.")
@click.argument("id")
@signed
def restore(session: Session, id: str) -> None:
    """Bring back an image that was withdrawn or removed, as it was. Needs a key of the operator.

    It works until `phimage store gc` has removed the bytes, which is a day after the withdrawal at the earliest, or what its
    --grace says.

    \b
    Example:
      phimage image restore pimg-cs-xev4rz2k
    """
    revision = session.client.call("RestorePHostImage", ImageId=id).fields["Revision"]
    note(f"{id} is back; revision {revision}")


@image.command(short_help="Say why an image is, or is not, listed.")
@click.argument("id")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; a sub-user must name it.")
@click.option("--type", "type_", type=click.Choice(["Base", "Custom"], case_sensitive=False), help="Base or Custom.")
@click.option("--machine-type", metavar="TYPE", help="As in the list, such as DB-2.")
@click.option("--cluster", help="As in the list, such as 25G.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="As revision N had it.")
@json_option
@signed
def explain(
    session: Session,
    id: str,
    region: str | None,
    zone: str | None,
    project: str | None,
    type_: str | None,
    machine_type: str | None,
    cluster: str | None,
    rev: int | None,
    as_json: bool,
) -> None:
    """Say whether a list has an image, at which position, and if not, every reason and what would change it.

    \b
    Examples:
      phimage image explain pimg-cs-xev4rz --zone cn-bj2-02
      phimage image explain pimg-cs-xev4rz --zone cn-bj2-02 --machine-type DB-2 --cluster 25G
    """
    client = session.client if rev is None else session.client.at(rev)
    fields = client.call(
        "ExplainPHostImage",
        Region=session.given("region", region),
        Zone=session.given("zone", zone),
        ProjectId=session.given("project", project),
        ImageId=id,
        ImageType=type_,
        MachineType=machine_type,
        Cluster=cluster,
    ).fields
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    if fields["Listed"]:
        click.echo(f"{id} is listed: number {fields['Position'] + 1} of {fields['TotalCount']}")
    else:
        click.echo(f"{id} is not listed, because:")
    for reason in fields["ReasonSet"]:
        click.echo(f"  {reason['Rule']}: {reason['Reason']}")
        click.echo(f"    what would change it: {reason['Remedy']}")
    for text in fields["Notes"]:
        click.echo(f"  note: {text}")


def _few(types: list[str]) -> str:
    """The first machine types; `image show` and --json have them all."""
    return ", ".join(types[:2]) + (f" +{len(types) - 2}" if len(types) > 2 else "") or "-"


def _day(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d")
