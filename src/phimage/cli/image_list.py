"""`phimage image ls` and `phimage image latest`: images found by filters, as a table, csv, ids or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from click.core import ParameterSource

from phimage.cli.columns import (
    ASCII,
    PRIORITY,
    TABLE,
    UNICODE,
    WIDE,
    Column,
    Fit,
    ListMarks,
    Row,
    cells_of,
    chosen,
    fit,
    lines_of,
)
from phimage.cli.output import (
    Command,
    echo,
    json_option,
    marks_for,
    note,
    output_encoding,
    output_width,
    print_csv,
    print_heading,
    print_json,
)
from phimage.cli.profile import Session, signed
from phimage.client import ActionResponse, Client
from phimage.errors import ClientError

PAGE = 100
UNLIMITED = 1 << 20
"""The width of a table whose lines may have any length."""

_SORTS = ["created", "name", "family", "size", "version"]
_PLACE_OPTIONS = (
    click.option("--region", envvar="PHIMAGE_REGION", help="Region, such as cn-bj2; see phimage region ls."),
    click.option("--zone", envvar="PHIMAGE_ZONE", help="Zone, such as cn-bj2-02; see phimage zone ls."),
    click.option("--all-zones", is_flag=True, help="Images of all zones and of none, whatever the profile says."),
    click.option(
        "--project", envvar="PHIMAGE_PROJECT", help="Project; required for a sub-user. For operators also any other, or all."
    ),
    click.option("--type", "type_", type=click.Choice(["Base", "Custom"], case_sensitive=False), help="Base or Custom."),
    click.option("--machine-type", metavar="TYPE", help="Only images that this machine type can run, such as DB-2."),
    click.option("--cluster", help="Network cluster of the machine, such as 25G."),
    click.option("--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Only with this label; may be repeated."),
)
_FILTER_OPTIONS = (
    click.option("--text", help="Only with this text in id, name, description, system or family; in any case."),
    click.option("--family", help="Only of this family, such as debian-12."),
    click.option("--os", "os_type", metavar="NAME", help="Only of this operating system family, such as CentOS."),
    click.option(
        "--state", type=click.Choice(["Making", "Available", "Unavailable"], case_sensitive=False), help="Only in this state."
    ),
    click.option("--has-bytes/--no-bytes", default=None, help="Only images whose disk is, or is not, stored."),
    click.option("--id", "ids", multiple=True, metavar="ID", help="Only this image; may be repeated."),
    click.option("--mine", is_flag=True, help="Only images of the project; the same as --type Custom."),
    click.option(
        "--deprecated",
        type=click.Choice(["exclude", "include", "only"]),
        help="Whether to list deprecated images.  [default: exclude]",
    ),
)


def _with(options: Sequence[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command(short_help="List and find images.")
@_with(_FILTER_OPTIONS)
@_with(_PLACE_OPTIONS)
@click.option(
    "--sort",
    metavar="ORDER",
    type=click.Choice([*_SORTS, *(f"-{name}" for name in _SORTS)]),
    help=f"{', '.join(_SORTS)}, or -ORDER.",
)
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="Number of images to skip.")
@click.option("--limit", type=click.IntRange(0), help="Maximum number to list.  [default: 20]")
@click.option("--all", "all_", is_flag=True, help="List all pages.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json", "csv", "id"]), help="Form.  [default: table]")
@click.option("--columns", metavar="NAME,...", help="Columns of a table or of csv, in this order.")
@json_option
@signed
def ls(
    session: Session, all_: bool, rev: int | None, output: str | None, columns: str | None, as_json: bool, **given: Any
) -> None:
    """List images: of a zone, of a region, or of all zones where neither an option nor the profile names one.

    A table has one line an image and the columns that fit the terminal; -o wide has more. A mark in BYTES says that the disk is
    stored. Without --sort, base images come before custom ones, the newest first.

    \b
    Examples:
      phimage image ls --zone cn-bj2-02 --machine-type Base-SSD-V5 --cluster 25G
      phimage image ls --all-zones --text debian --has-bytes --sort -created
      phimage image ls --label team=storage --columns id,name,labels
      phimage image ls --mine --all -o csv
    """
    form = _form(output, as_json)
    if columns is not None and form not in ("table", "wide", "csv"):
        raise click.UsageError(f"-o {form} has no columns: leave --columns out, or use table, wide or csv")
    named = chosen(columns) if columns is not None else ()
    params, offset, limit = _params(session, given), given["offset"], given["limit"]
    client = session.client if rev is None else session.client.at(rev)
    if all_:
        pages = list(_pages(client, params, offset, limit or PAGE))
    else:
        pages = [client.call("FindPHostImages", **params, Offset=offset, Limit=limit)]
    answer = pages[0]
    total, revision = answer.fields["TotalCount"], answer.revision
    rows = [flat(row) for page in pages for row in page.fields["ImageSet"]]
    if form == "json":
        print_json({"TotalCount": total, "Revision": revision, "ImageSet": rows})
        return
    shown = _print(rows, form, named, owned=params["ProjectId"] == "all")
    end = offset + len(rows)
    more = f"; use --offset {end} or --all for more" if end < total and rows else ""
    if more or form in ("table", "wide"):
        note(f"{len(rows)} of {total} images at revision {revision}{more}")
    for text in shown:
        note(text)
    if not total:
        _explain_nothing(params, rev)
    if answer.newer:
        note(f"the pinned revision hides newer versions: {answer.newer}")


@click.command(short_help="Print the newest image of a family.")
@click.argument("family")
@_with(_PLACE_OPTIONS)
@click.option("--has-bytes", is_flag=True, default=None, help="Only images whose disk is stored.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
@json_option
@signed
def latest(session: Session, family: str, rev: int | None, as_json: bool, **given: Any) -> None:
    """Print the id of the newest image of a family that is listed and Available. Exits 1 when there is none.

    \b
    Examples:
      phimage image latest debian-12 --zone cn-bj2-02 --machine-type Base-SSD-V5
      phimage image show "$(phimage image latest debian-12)"
    """
    client = session.client if rev is None else session.client.at(rev)
    params = {**_params(session, given), "Family": family, "State": "Available", "Sort": "-created"}
    found = client.call("FindPHostImages", **params, Limit=1).fields["ImageSet"]
    if not found:
        where = _place_text(params)
        raise ClientError(
            f"family {family} has no listed image that is Available{where}; "
            f"see phimage image ls --all-zones --deprecated include --family {family}"
        )
    if as_json:
        print_json(flat(found[0]))
    else:
        echo(flat(found[0])["ImageId"])


def flat(row: dict[str, Any]) -> Row:
    """An image of FindPHostImages or GetPHostImage, with the fields of lists beside those of details."""
    return {**row["Image"], **{name: value for name, value in row.items() if name != "Image"}}


def print_images(images: Sequence[Row]) -> None:
    """Print images as a table, as wide as the terminal. Those of DescribePHostImage will do."""
    known = [column for column in TABLE if column.name != "bytes"]
    _table(images, known, [column for column in PRIORITY if column in known], output_width())


def _form(output: str | None, as_json: bool) -> str:
    if as_json and output not in (None, "json"):
        raise click.UsageError(f"--json and -o {output} are two forms: give one")
    return "json" if as_json else output or "table"


def _params(session: Session, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of FindPHostImages."""
    type_ = given["type_"]
    if given.get("mine") and type_ == "Base":
        raise click.UsageError("--mine lists custom images; --type Base lists none of them")
    return {
        **_place(session, given),
        "ProjectId": session.given("project", given["project"]),
        "ImageType": "Custom" if given.get("mine") else type_,
        "ImageId": given.get("ids", ()),
        "MachineType": given["machine_type"],
        "Cluster": given["cluster"],
        "Text": given.get("text"),
        "Family": given.get("family"),
        "OsType": given.get("os_type"),
        "State": given.get("state"),
        "HasBytes": given["has_bytes"],
        "Label": given["labels"],
        "Deprecated": given.get("deprecated"),
        "Sort": given.get("sort"),
    }


def _place(session: Session, given: dict[str, Any]) -> dict[str, str | None]:
    """Region and Zone. Options win over variables, and these over the profile: the weaker of both is left out.

    So `--zone hk-02` is understood beside a profile of another region, and `--region hk` means all its zones.
    """
    if given["all_zones"]:
        return {"Region": None, "Zone": None}
    context = click.get_current_context()
    ranks = {}
    for name in ("region", "zone"):
        by_option = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ranks[name] = 2 if by_option else 1 if given[name] else 0
    strongest = max(ranks.values())
    place = {name: session.given(name, given[name]) for name, rank in ranks.items() if rank == strongest}
    return {"Region": place.get("region"), "Zone": place.get("zone")}


def _place_text(params: dict[str, Any]) -> str:
    place = params["Zone"] or params["Region"]
    kind = f" for {params['MachineType']}" if params["MachineType"] else ""
    return kind + (f" in {place}" if place else "")


def _pages(client: Client, params: dict[str, Any], offset: int, limit: int) -> Iterator[ActionResponse]:
    """All pages, of the revision of the first one, so that no image is missed or repeated."""
    while True:
        answer = client.call("FindPHostImages", **params, Offset=offset, Limit=limit)
        yield answer
        count = len(answer.fields["ImageSet"])
        offset += count
        if not count or offset >= answer.fields["TotalCount"]:
            return
        if answer.revision is not None and "/rev/" not in client.endpoint:
            client = client.at(answer.revision)


def _print(rows: Sequence[Row], form: str, named: tuple[Column, ...], *, owned: bool) -> list[str]:
    """Print images in a form, and return notes about what is shown and what is not."""
    if form == "id":
        for row in rows:
            echo(row["ImageId"])
        return []
    if form == "csv":
        columns = named or WIDE
        print_csv([column.name for column in columns], ([column.text(row) for column in columns] for row in rows))
        return []
    if not rows:
        echo("no images")
        return []
    if form == "wide":
        fitted = _table(rows, named or WIDE, named or WIDE, UNLIMITED)
    else:
        by_owner = tuple(column for column in WIDE if column.name == "project") if owned else ()
        fitted = _table(rows, named or (*TABLE, *by_owner), named or (*by_owner, *PRIORITY), output_width())
    notes = []
    if "bytes" in fitted.widths and any(row["Disk"] for row in rows):
        notes.append(f"{_marks().stored} in BYTES: the disk is stored, and can be downloaded")
    if fitted.dropped:
        headings = ", ".join(column.heading for column in fitted.dropped)
        notes.append(f"no room for {headings}: -o wide shows all" + ("" if named else ", --columns some"))
    return notes


def _table(rows: Sequence[Row], columns: Sequence[Column], priority: Sequence[Column], width: int) -> Fit:
    encoding, marks = output_encoding(), _marks()
    unlimited = width == UNLIMITED
    cells = {column.name: cells_of(column, rows, marks, encoding, short=not unlimited) for column in columns}
    fitted = fit(columns, priority, cells, width)
    heading, *lines = lines_of(fitted, cells, marks)
    print_heading(heading)
    for line in lines:
        echo(line)
    return fitted


def _marks() -> ListMarks:
    return marks_for(output_encoding(), UNICODE, ASCII)


def _explain_nothing(params: dict[str, Any], rev: int | None) -> None:
    """Say why a list without filters is empty."""
    if any(value not in (None, ()) for name, value in params.items() if name not in ("Region", "Zone", "ProjectId")):
        return
    place = params["Zone"] or params["Region"]
    if rev is not None:
        note(f"no image was listed{f' in {place}' if place else ''} at revision {rev}: phimage log shows what came later")
    elif place:
        note(f"no image is listed in {place}: --all-zones lists those of all zones")
    else:
        note("the catalogue has no images yet; an operator can load some: phimage catalog starter")
