"""`phimage image progress`: how far the publication of an image is, in one call."""

from __future__ import annotations

from typing import Any

import click

from phimage.cli.output import echo, json_option, print_json, printable
from phimage.cli.profile import Session, signed
from phimage.cli.publish import PHASES


@click.command(short_help="Show how far a publication is.")
@click.argument("id")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the image; required for a sub-user.")
@json_option
@signed
def progress(session: Session, id: str, region: str | None, zone: str | None, project: str | None, as_json: bool) -> None:
    """Show how far the publication of an image is, and how long it may still take. Everyone who sees the image may ask.

    \b
    Examples:
      phimage image progress pimg-os-xev4rz2k --zone cn-bj2-02
      phimage image progress pimg-os-xev4rz2k --json
    """
    fields = session.client.call(
        "GetPHostImageProgress",
        ImageId=id,
        Region=session.given("region", region),
        Zone=session.given("zone", zone),
        ProjectId=session.given("project", project),
    ).fields
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    echo(f"{fields['Process']:.1f} %, {_words(fields)}")
    if fields["Error"]:
        echo(printable(fields["Error"]))


def _words(fields: dict[str, Any]) -> str:
    """What is being done, how much of it is done, and how long the rest may take."""
    if fields["Process"] == 100:
        reused = f"; {fields['Reused']} bytes of the disk were in the store already" if fields["Reused"] else ""
        return f"published in {fields['TotalDuration']} s{reused}"
    phase = {
        "upload": "uploading",
        "capture": "capturing the disk of a host",
        "": "waiting for a publisher",
        **{k: v for k, v in PHASES.items() if k},
    }[fields["Phase"]]
    words = [phase]
    if fields["Done"]:
        words[0] += f" {fields['Done']}" + (f" of {fields['Total']}" if fields["Total"] else "") + " bytes"
    if fields["RemainingDuration"] != "0":
        words.append(f"about {fields['RemainingDuration']} s left")
    return ", ".join(words)
