"""`phimage log`: the revisions of the catalogue."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from phimage.cli.changes import ASCII, UNICODE, change_lines
from phimage.cli.output import console, echo, json_option, marks_for, note, output_encoding, print_json, print_table, printable
from phimage.cli.profile import Session, signed
from phimage.client import Client

WAIT_SECONDS = 25
PAGE = 500
SHOWN_CHANGES = 50
"""The number of records of each revision that --changes shows."""
FUTURE = 2**31 - 1
"""A revision number that does not exist yet: the changes after it are none, and the response names the newest revision."""


@click.command(short_help="Show the revisions of the catalogue.")
@click.argument("revision", type=click.IntRange(1), required=False)
@click.option("--after", type=click.IntRange(0), metavar="N", help="Revisions after N, oldest first.")
@click.option("--before", type=click.IntRange(1), metavar="N", help="Revisions before N, newest first.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Maximum number to show.")
@click.option("--noun", metavar="KIND", help="Revisions that changed a record of this kind, such as image.")
@click.option("--id", "record", metavar="ID", help="Revisions that changed the record with this id.")
@click.option("--actor", metavar="TEXT", help="Revisions whose actor has this text in it.")
@click.option("--changes", is_flag=True, help="Show what each revision changed, field by field.")
@click.option("--follow", is_flag=True, help="Show changes of images as they happen; any key may.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project for --follow; required for a sub-user.")
@json_option
@signed
def log(
    session: Session,
    revision: int | None,
    after: int | None,
    before: int | None,
    limit: int,
    noun: str | None,
    record: str | None,
    actor: str | None,
    changes: bool,
    follow: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Show the revisions of the catalogue, newest first, or everything that one REVISION changed.

    This needs a key of the operator, unless with --follow.

    \b
    Examples:
      phimage log
      phimage log 12
      phimage log --after 12 --changes
      phimage log --id pimg-cs-xev4rz
      phimage log --follow
    """
    if revision is not None and (follow or after is not None or before is not None):
        raise click.UsageError("a REVISION is shown alone: leave out --after, --before and --follow")
    filters = {"Noun": noun, "Id": record, "Actor": actor}
    if any(filters.values()) and (revision is not None or follow):
        raise click.UsageError("--noun, --id and --actor search the list: leave out the REVISION and --follow")
    if follow:
        _follow(session.client, after, session.given("project", project), as_json)
        return
    if revision is not None:
        shown = _revision(session.client, revision)
        if as_json:
            print_json(shown)
        else:
            _print_changes(shown, whole=True)
        return
    answer = session.client.call("ListRevisions", After=after, Before=before, Limit=limit, **filters)
    revisions = answer.fields["RevisionSet"]
    if changes:
        most = None if as_json else SHOWN_CHANGES
        revisions = [_revision(session.client, one["Revision"], most) for one in revisions]
    if as_json:
        print_json({"Newest": answer.fields["Newest"], "RevisionSet": revisions})
    elif changes:
        for one in revisions:
            _print_changes(one, whole=False)
        if not revisions:
            echo("no revisions")
    else:
        _print_revisions(revisions)


def _print_revisions(revisions: list[dict[str, Any]]) -> None:
    print_table(
        ("REV", "TIME", "ACTION", "ACTOR", "ADDRESS", "CHANGES"),
        (
            (
                str(revision["Revision"]),
                revision["Time"][:19] + "Z",
                revision["Action"],
                revision["Actor"],
                revision["Address"],
                _counted(revision["Changes"]),
            )
            for revision in revisions
        ),
        whole=2,
        empty="no revisions",
    )


def _revision(client: Client, number: int, limit: int | None = None) -> dict[str, Any]:
    """A revision with its changes, all of them or at most `limit`."""
    whole: dict[str, Any] = {}
    while not whole or (limit is None and len(whole["Changes"]) < whole["TotalCount"]):
        done = len(whole["Changes"]) if whole else 0
        page = client.call("GetRevision", Revision=number, Offset=done, Limit=limit or PAGE).fields["Revision"]
        whole = {**page, "Changes": [*whole["Changes"], *page["Changes"]]} if whole else page
    return whole


def _print_changes(revision: dict[str, Any], *, whole: bool) -> None:
    """A revision as a heading and lines within the width of the terminal."""
    out = console()
    symbols = marks_for(output_encoding(), UNICODE, ASCII)
    echo(f"revision {revision['Revision']}  {revision['Time'][:19]}Z  {printable(revision['Action'])}")
    echo(f"  by {printable(revision['Actor'])} from {printable(revision['Address'])}")
    for change in revision["Changes"]:
        for line in change_lines(change, out.width, symbols, whole=whole):
            echo(line)
    more = revision["TotalCount"] - len(revision["Changes"])
    if more:
        echo(f"  and {more} more records: phimage log {revision['Revision']}")


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


def _counted(changes: list[dict[str, Any]]) -> str:
    counts = Counter((change["Verb"], change["Noun"]) for change in changes)
    return ", ".join(f"{count} {noun} {verb}" for (verb, noun), count in counts.items())
