"""`phimage image explain` and `matrix`: why lists have an image, or do not have it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any, NamedTuple

import click

from phimage.cli.exit_codes import NOT_LISTED
from phimage.cli.output import echo, json_option, marks_for, note, output_encoding, print_json, print_table, printable
from phimage.cli.profile import Session, signed


@click.command(short_help="Explain why an image is, or is not, listed.")
@click.argument("id")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; required for a sub-user.")
@click.option("--type", "type_", type=click.Choice(["Base", "Custom"], case_sensitive=False), help="Base or Custom.")
@click.option("--machine-type", metavar="TYPE", help="Machine type, as in the list, such as DB-2.")
@click.option("--cluster", help="Network cluster, as in the list, such as 25G.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
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
    """Explain whether a list has an image, at which position, and if not, every reason and its remedy.

    Exits with 0 if the image is listed, with 1 otherwise.

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
    else:
        _print_explanation(id, fields)
    sys.exit(0 if fields["Listed"] else NOT_LISTED)


def _print_explanation(id: str, fields: dict[str, Any]) -> None:
    if fields["Listed"]:
        echo(f"{id} is listed: number {fields['Position'] + 1} of {fields['TotalCount']}")
    else:
        echo(f"{id} is not listed, because:")
    _print_reasons(fields)
    for text in fields["Notes"]:
        _print(f"note: {printable(text)}", 2)


def _print_reasons(fields: dict[str, Any]) -> None:
    for reason in fields["ReasonSet"]:
        _print(f"{reason['Rule']}: {printable(reason['Reason'])}", 2)
        _print(f"what would change it: {printable(reason['Remedy'])}", 4)


def _print(text: str, indent: int = 0) -> None:
    """Print a text in one line, or folded to the width of a terminal."""
    lines = [text]
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns - indent - HANGING, MIN_WIDTH)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    echo("\n".join(" " * (indent + HANGING * (line > 0)) + part for line, part in enumerate(lines)))


HANGING = 2
"""Columns by which the folded part of a line is further in."""
MIN_WIDTH = 30


class MatrixMarks(NamedTuple):
    """What a cell of the table shows."""

    listed: str
    offered: str
    absent: str


UNICODE = MatrixMarks("✓", "·", "–")
ASCII = MatrixMarks("Y", ".", "-")


@click.command(short_help="Show on which machines an image is listed.")
@click.argument("id")
@click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2.")
@click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone of the region, such as cn-bj2-02.")
@click.option("--all-zones", is_flag=True, help="All zones of the region together.")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project; required for a sub-user.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
@json_option
@signed
def matrix(
    session: Session,
    id: str,
    region: str | None,
    zone: str | None,
    all_zones: bool,
    project: str | None,
    rev: int | None,
    as_json: bool,
) -> None:
    """Show for each machine type on each cluster whether a list has the image.

    The machine types are those that the zone offers or the image supports. `phimage image explain` has the reasons for one
    of them.

    \b
    Examples:
      phimage image matrix pimg-cs-xev4rz --zone cn-bj2-02
      phimage image matrix pimg-cs-xev4rz --region cn-bj2 --all-zones --json
    """
    client = session.client if rev is None else session.client.at(rev)
    answer = client.call(
        "GetPHostImageMatrix",
        Region=session.given("region", region),
        Zone=None if all_zones else session.given("zone", zone),
        ProjectId=session.given("project", project),
        ImageId=id,
    )
    if as_json:
        print_json({name: value for name, value in answer.fields.items() if name not in ("RetCode", "Action")})
    else:
        _print_matrix(id, answer.fields)
        note(f"{id} in {', '.join(answer.fields['Zones']) or 'no zone'} at revision {answer.revision}")


def _print_matrix(id: str, fields: dict[str, Any]) -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for cell in sorted(fields["MatrixSet"], key=lambda cell: _by_number(cell["Cluster"])):
        rows.setdefault(cell["MachineType"], []).append(cell)
    clusters = [cell["Cluster"] for cell in next(iter(rows.values()), [])]
    marks = marks_for(output_encoding(), UNICODE, ASCII)
    print_table(
        ("MACHINE TYPE", *clusters),
        ([kind, *(_mark(cell, marks) for cell in cells)] for kind, cells in sorted(rows.items())),
        whole=1 + len(clusters),
        empty="no machine type is offered here or supported by the image",
    )
    if rows:
        echo(f"{marks.listed} listed   {marks.offered} offered here, not listed   {marks.absent} not offered here")
    elsewhere = [kind for kind, cells in sorted(rows.items()) if not any(cell["Offered"] for cell in cells)]
    if elsewhere:
        _print(f"supported, but not offered here: {', '.join(map(printable, elsewhere))}")
    if fields["ReasonSet"]:
        echo(f"{id} is in no list here, because:")
        _print_reasons(fields)


def _mark(cell: dict[str, Any], marks: MatrixMarks) -> str:
    if cell["Listed"]:
        return marks.listed
    return marks.offered if cell["Offered"] else marks.absent


def _by_number(cluster: str) -> tuple[int, str]:
    """1G before 10G."""
    digits = cluster[: len(cluster) - len(cluster.lstrip("0123456789"))]
    return (int(digits or 0), cluster)
