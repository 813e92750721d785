"""`phimage log`: the revisions of the catalogue."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from phimage.cli.output import echo, json_option, note, print_json, print_table
from phimage.cli.profile import Session, signed
from phimage.client import Client

WAIT_SECONDS = 25
FUTURE = 2**31 - 1
"""A revision number that does not exist yet: the changes after it are none, and the response names the newest revision."""


@click.command(short_help="Show the revisions of the catalogue.")
@click.option("--after", type=click.IntRange(0), metavar="N", help="Revisions after N, oldest first.")
@click.option("--before", type=click.IntRange(1), metavar="N", help="Revisions before N, newest first.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Maximum number to show.")
@click.option("--changes", is_flag=True, help="Show everything that each revision touched.")
@click.option("--follow", is_flag=True, help="Show changes of images as they happen; any key may.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project for --follow; required for a sub-user.")
@json_option
@signed
def log(
    session: Session,
    after: int | None,
    before: int | None,
    limit: int,
    changes: bool,
    follow: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Show the revisions of the catalogue, newest first. This needs a key of the operator, unless with --follow.

    \b
    Examples:
      phimage log
      phimage log --after 12 --changes
      phimage log --follow
    """
    if follow:
        _follow(session.client, after, session.given("project", project), as_json)
        return
    answer = session.client.call("ListRevisions", After=after, Before=before, Limit=limit)
    revisions = answer.fields["RevisionSet"]
    if as_json:
        print_json({"Newest": answer.fields["Newest"], "RevisionSet": revisions})
        return
    print_table(
        ("REV", "TIME", "ACTION", "ACTOR", "ADDRESS", "CHANGES"),
        (
            (
                str(revision["Revision"]),
                revision["Time"][:19] + "Z",
                revision["Action"],
                revision["Actor"],
                revision["Address"],
                _all(revision["Changes"]) if changes else _counted(revision["Changes"]),
            )
            for revision in revisions
        ),
        whole=2,
        empty="no revisions",
    )


def _follow(client: Client, after: int | None, project: str | None, as_json: bool) -> None:
    if after is None:
        after = client.call("ListPHostImageChanges", After=FUTURE, ProjectId=project).fields["Newest"]
        note(f"waiting for changes after revision {after}; Ctrl-C ends")
    while True:
        fields = client.call("ListPHostImageChanges", After=after, Wait=WAIT_SECONDS, ProjectId=project).fields
        for change in fields["ChangeSet"]:
            if as_json:
                print_json(change, indented=False)
            else:
                when = f"{change['Time'][:19]}Z"
                what = f"{change['Change']:<9}  {change['ImageType']:<6}  {change['ImageId']}"
                echo(f"{change['Revision']:>6}  {when}  {what}")
        after = fields["Next"]


def _all(changes: list[dict[str, Any]]) -> str:
    return "\n".join(f"{change['Verb']} {change['Noun']} {change['Id']}" for change in changes)


def _counted(changes: list[dict[str, Any]]) -> str:
    counts = Counter((change["Verb"], change["Noun"]) for change in changes)
    return ", ".join(f"{count} {noun} {verb}" for (verb, noun), count in counts.items())
