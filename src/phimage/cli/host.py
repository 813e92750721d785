"""`phimage host`: machines whose disks are deployed to and captured from."""

from __future__ import annotations

from typing import Any

import click

from phimage.cli.job import format_age
from phimage.cli.output import echo, json_option, minute, note, print_json, print_table, printable
from phimage.cli.profile import Session, signed
from phimage.cli.prompts import confirm
from phimage.cli.sections import OPERATORS, TENANTS_AND_OPERATORS, SectionedGroup
from phimage.errors import ClientError

SECTIONS = {
    TENANTS_AND_OPERATORS: {
        "ls": "phimage.cli.host:ls",
        "show": "phimage.cli.host:show",
        "capture": "phimage.cli.host_orders:capture",
        "reinstall": "phimage.cli.host_orders:reinstall",
    },
    OPERATORS: {
        "register": "phimage.cli.host:register",
        "token": "phimage.cli.host:token",
        "assign": "phimage.cli.host:assign",
        "release": "phimage.cli.host:release",
        "remove": "phimage.cli.host:remove",
    },
}
STATES = ("registered", "free", "rescue", "capturing", "deploying", "running", "failed", "cleaning", "dirty")
MAX_HOSTS = 1000

project_option = click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the hosts; required for a sub-user.")


@click.group(cls=SectionedGroup, sections=SECTIONS, short_help="Register hosts, install and capture their disks.")
def host() -> None:
    """Register hosts, and install and capture their disks: a host runs phimage's agent in a rescue system beside its disk."""


@click.command(short_help="List hosts.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="List those in this state.")
@click.option("--image", metavar="ID", help="List those whose disk has this image.")
@project_option
@json_option
@signed
def ls(session: Session, state: str | None, image: str | None, project: str | None, as_json: bool) -> None:
    """List hosts: operators all, or those of a project; others those of their project.

    The column AGENT is how long ago the host's agent was heard.

    \b
    Examples:
      phimage host ls
      phimage host ls --state free
      phimage host ls --image pimg-os-xev4rz2k
    """
    print_hosts(
        session, as_json, State=state and state.capitalize(), ImageId=image, ProjectId=session.given("project", project)
    )


@click.command(short_help="Show one host.")
@click.argument("id")
@project_option
@json_option
@signed
def show(session: Session, id: str, project: str | None, as_json: bool) -> None:
    """Show everything about a host: its state, its agent, its order, and the receipt of what its disk has.

    \b
    Examples:
      phimage host show upm-4k2xqz7a
      phimage host show upm-4k2xqz7a --json
    """
    found = session.client.call("ListHosts", PHostId=[id], ProjectId=session.given("project", project)).fields["HostSet"]
    if not found:
        raise ClientError(f"there is no host {id}: `phimage host ls` lists all that you may see")
    if as_json:
        print_json(found[0])
        return
    for name, text in _lines(found[0]).items():
        echo(f"{name:<11}{printable(text)}")


@click.command(short_help="Register a host.")
@click.option("--zone", required=True, envvar="PHIMAGE_ZONE", help="Zone in which it stands, such as cn-bj2-02.")
@click.option("--machine-type", required=True, help="Its machine type, such as DB-2.")
@click.option("--cluster", required=True, help="Network cluster that it is connected to, such as 25G.")
@click.option("--serial", required=True, help="Serial number of the machine, as `dmidecode -s system-serial-number` prints it.")
@click.option("--mac", required=True, multiple=True, help="MAC address of a network card; may be repeated.")
@click.option(
    "--disk", required=True, metavar="HINT", help="System disk: wwn:TEXT, serial:TEXT, path:/dev/... or size:MIN-MAX."
)
@click.option("--name", help="Its name, for people; by default the serial number.")
@json_option
@signed
def register(
    session: Session,
    zone: str,
    machine_type: str,
    cluster: str,
    serial: str,
    mac: tuple[str, ...],
    disk: str,
    name: str | None,
    as_json: bool,
) -> None:
    """Register a host and print its id and its enrol token.

    The token is shown once. The host's agent uses it once, within an hour; `phimage host token` makes another one.

    \b
    Example:
      phimage host register --zone cn-bj2-02 --machine-type DB-2 --cluster 25G \\
        --serial 7C4K2X --mac 0c:42:a1:5e:00:01 --disk size:400G-500G
    """
    fields = session.client.call(
        "RegisterHost",
        Zone=zone,
        MachineType=machine_type,
        Cluster=cluster,
        SerialNumber=serial,
        Mac=mac,
        Disk=disk,
        Name=name,
    ).fields
    _print_token(fields, as_json)


@click.command(short_help="Make a new enrol token.")
@click.argument("id")
@json_option
@signed
def token(session: Session, id: str, as_json: bool) -> None:
    """Make a new enrol token and print it: one for each boot of the rescue system.

    Earlier tokens stop working. For a suspended host, a new token ends the suspension.

    \b
    Example:
      phimage host token upm-4k2xqz7a
    """
    _print_token(session.client.call("NewEnrollToken", PHostId=id).fields, as_json)


@click.command(short_help="Give a free host to a project.")
@click.argument("id")
@click.argument("project")
@json_option
@signed
def assign(session: Session, id: str, project: str, as_json: bool) -> None:
    """Give a free host to a project, whose users then see it, install it and make images of it.

    \b
    Example:
      phimage host assign upm-4k2xqz7a org-4k2xqz7a
    """
    _print_state(session.client.call("AssignHost", PHostId=id, ProjectId=project).fields, as_json)


@click.command(short_help="Take a host from its project and clean it.")
@click.argument("id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@signed
def release(session: Session, id: str, yes: bool, as_json: bool) -> None:
    """Take a host from its project and overwrite its disk with zeros, also in the middle of an order.

    The host is free again once its agent has cleaned the disk: boot the rescue system unless it runs there. A host whose disk
    could not be cleaned is Dirty; release it again to try once more.

    \b
    Example:
      phimage host release upm-4k2xqz7a
    """
    if not yes:
        confirm(f"Release {id} and erase its disk?", "use --yes")
    _print_state(session.client.call("ReleaseHost", PHostId=id).fields, as_json)


@click.command(short_help="Remove a host.")
@click.argument("id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@signed
def remove(session: Session, id: str, yes: bool, as_json: bool) -> None:
    """Remove a host that belongs to no project. Its agent's key stops working; its disk stays as it is.

    \b
    Example:
      phimage host remove upm-4k2xqz7a
    """
    if not yes:
        confirm(f"Remove {id}?", "use --yes")
    _print_state(session.client.call("RemoveHost", PHostId=id).fields, as_json)


def print_hosts(session: Session, as_json: bool, empty: str = "no hosts", **conditions: str | None) -> None:
    """Print the hosts that satisfy conditions, as a table or as JSON."""
    found: list[dict[str, Any]] = []
    while True:
        page = session.client.call("ListHosts", Offset=len(found), Limit=MAX_HOSTS, **conditions).fields
        found += page["HostSet"]
        if len(found) >= page["TotalCount"] or not page["HostSet"]:
            break
    if as_json:
        print_json(found)
        return
    rows = (
        (
            one["PHostId"],
            one["Name"],
            "suspended" if one["Suspended"] else one["State"],
            one["Zone"],
            f"{one['MachineType']}:{one['Cluster']}",
            one["ProjectId"] or "-",
            one["ImageId"] or "-",
            _heard(one),
            _order(one),
        )
        for one in found
    )
    headings = ("HOST", "NAME", "STATE", "ZONE", "TYPE", "PROJECT", "IMAGE", "AGENT", "ORDER")
    print_table(headings, rows, whole=1, empty=empty)


def _heard(one: dict[str, Any]) -> str:
    return "never" if not one["Heard"] else "here" if one["IsOn"] else f"{format_age(one['Silence'])} ago"


def _order(one: dict[str, Any]) -> str:
    order = one["Order"]
    if order is None:
        return "-"
    if not order["Phase"]:
        return f"{order['Kind']}, " + ("taken" if order["Fence"] else "waits for the agent")
    share = f" {min(100, 100 * order['Done'] // order['Total'])} %" if order["Total"] else ""
    return f"{order['Kind']}, {order['Phase']}{share}"


def _lines(one: dict[str, Any]) -> dict[str, str]:
    """The lines of `show`; those without a meaning in the host's state are left out."""
    lines = {
        "host": one["PHostId"],
        "name": one["Name"],
        "state": one["State"],
        "suspended": one["Suspended"],
        "project": one["ProjectId"] or "none",
        "zone": one["Zone"],
        "type": f"{one['MachineType']} on {one['Cluster']}",
        "serial": one["SerialNumber"],
        "mac": ", ".join(one["Mac"]),
        "disk": one["Disk"] + (f", {one['DiskSize']} bytes" if one["DiskSize"] else ""),
        "image": f"{one['ImageId']} ({one['ImageName']}) since {minute(one['DeployTime'])}" if one["ImageId"] else "",
        "manifest": one["Manifest"],
        "order": _order(one) if one["Order"] else "",
        "failure": one["Failure"],
        "agent": f"{_heard(one)}{', from ' + one['AgentAddress'] if one['AgentAddress'] else ''}"
        + (f", version {one['AgentVersion']}" if one["AgentVersion"] else ""),
        "receipt": one["Receipt"],
    }
    return {name: text for name, text in lines.items() if text}


def _print_token(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({name: fields[name] for name in ("PHostId", "EnrollToken", "ExpireTime")})
        return
    echo(f"host   {fields['PHostId']}")
    echo(f"token  {fields['EnrollToken']}")
    note(f"the token is shown once; it works once, until {minute(fields['ExpireTime'])}")


def _print_state(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({name: fields[name] for name in ("PHostId", "State")})
        return
    note(f"{fields['PHostId']} is {fields['State']}")
