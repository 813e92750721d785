"""`phimage image set`: the name, the placement and the state of an image."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from phimage.cli.image_hosts import note_hosts
from phimage.cli.output import json_option, note, print_json, printable
from phimage.cli.profile import Session, signed
from phimage.cli.publish import many

NOW = "now"
OF_HOSTS = frozenset({"Deprecated", "DeprecationTime", "State", "Support", "Zone"})
"""The changes that concern the hosts of an image: they may not be installed with it again, or should be with another one."""


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> str | int | None:
    """A date or a time in UTC as Unix seconds; NOW stays."""
    if value in (None, NOW):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date: expected one such as 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


@click.command("set", short_help="Change an image.")
@click.argument("id")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the image; required for a sub-user.")
@click.option("--name", help="Name of the image, for people.")
@click.option("--description", help='Description, for people; "" removes it.')
@click.option("--os-type", help="Distribution family: Debian, Ubuntu, CentOS, Windows, ...")
@click.option("--os-name", help="The operating system, for people: Debian 12 64bit.")
@click.option("--version", help='Version, as any text; "" removes it.')
@click.option("--family", help='Name that all versions of the image share: debian-12; "" removes it.')
@click.option("--zone", "zones", multiple=True, callback=many, metavar="ZONE,...", help="All zones of the image from now on.")
@click.option(
    "--support", multiple=True, callback=many, metavar="TYPE[:CLUSTER],...", help="All machine types to run it from now on."
)
@click.option("--no-support", is_flag=True, help="No machine type runs it.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label; may be repeated.")
@click.option("--no-label", "removed", multiple=True, metavar="KEY", help="Remove a label; may be repeated.")
@click.option(
    "--deprecated",
    is_flag=False,
    flag_value=NOW,
    callback=_time,
    metavar="[DATE]",
    help="List it no longer, from now on or from a date.",
)
@click.option("--no-deprecated", is_flag=True, help="List it again, and forget the date.")
@click.option("--successor", metavar="ID", help='Image to use instead; "" removes it.')
@click.option(
    "--state",
    type=click.Choice(["Available", "Unavailable"], case_sensitive=False),
    help="Whether machines may be installed with it; operators only.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change, and which hosts it concerns.")
@json_option
@signed
def set_(session: Session, id: str, project: str | None, as_json: bool, **given: Any) -> None:
    """Change an image: a custom image of the project, or as the operator any image. What is not given stays as it is.

    An image of the catalogue file gets the values of the file again when the file is applied.

    \b
    Examples:
      phimage image set pimg-os-xev4rz2k --name "Web server" --description "with nginx 1.26" --label team=web
      phimage image set pimg-os-xev4rz2k --deprecated 2027-01-31 --successor pimg-cs-hbiw5o
      phimage image set pimg-os-xev4rz2k --version "" --no-label team --no-deprecated
      phimage image set pimg-os-xev4rz2k --deprecated --dry-run
    """
    dry_run = bool(given.pop("dry_run"))
    if given["deprecated"] and given["no_deprecated"]:
        raise click.UsageError("give --deprecated or --no-deprecated, not both")
    if given["support"] and given["no_support"]:
        raise click.UsageError("give --support or --no-support, not both")
    params = _params(given)
    if not any(params.values()):
        raise click.UsageError("nothing to change: give --name or another option, see phimage image set --help")
    asked = {"ImageId": id, "ProjectId": session.given("project", project), "DryRun": dry_run or None}
    fields = session.client.call("UpdatePHostImage", **asked, **params).fields
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    if OF_HOSTS.intersection(fields["Changed"]):
        note_hosts(id, fields["HostSet"])
    if fields["Changed"] and dry_run:
        note(f"{printable(id)}: would change {', '.join(fields['Changed'])}")
    elif fields["Changed"]:
        note(f"{printable(id)}: changed {', '.join(fields['Changed'])}; revision {fields['Revision']}")
    else:
        note(f"{printable(id)} was like that already; nothing changed")


_TEXTS = {
    "Name": "name",
    "OsType": "os_type",
    "OsName": "os_name",
    "Version": "version",
    "Family": "family",
    "Description": "description",
    "Successor": "successor",
}
"""The options by their parameters whose values are texts."""


def _params(given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of UpdatePHostImage. An option with an empty text clears its value. Raises UsageError."""
    cleared = [name for name, option in _TEXTS.items() if given[option] == ""]
    for name in ("Name", "OsType", "OsName"):
        if name in cleared:
            raise click.UsageError(f"--{_TEXTS[name].replace('_', '-')} cannot be empty")
    when = given["deprecated"]
    return {
        **{name: given[option] or None for name, option in _TEXTS.items()},
        "Zone": given["zones"],
        "Support": given["support"],
        "Label": given["labels"],
        "RemoveLabel": given["removed"],
        "Deprecated": "true" if when == NOW else "false" if given["no_deprecated"] else None,
        "DeprecationTime": when if isinstance(when, int) else None,
        "State": given["state"],
        "Clear": [*cleared, *(["Support"] if given["no_support"] else [])],
    }
