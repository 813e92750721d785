"""`phimage job`: the publications of images, with their progress."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from phimage.cli.output import echo, json_option, note, print_json, print_table, printable
from phimage.cli.profile import Session, signed
from phimage.client import Client
from phimage.errors import ClientError

STATES = ("waiting", "queued", "running", "done", "failed", "unfinished")
_UNFINISHED = ("Waiting", "Queued", "Running")
_project_option = click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the jobs; required for a sub-user.")


@click.group(short_help="Watch and cancel publications.")
def job() -> None:
    """Watch and cancel the publications of images. Operators see all, others those of their project."""


@job.command(short_help="List publications.")
@click.option("--all", "all_", is_flag=True, help="List ended ones too.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="List those in this state.")
@click.option("--image", metavar="ID", help="List those of this image.")
@click.option("--before", metavar="JOB", help="List those requested before this one.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Maximum number to list.")
@_project_option
@json_option
@signed
def ls(
    session: Session,
    all_: bool,
    state: str | None,
    image: str | None,
    before: str | None,
    limit: int,
    project: str | None,
    as_json: bool,
) -> None:
    """List unfinished publications, newest first; with --all, --state or --image also those that ended.

    The column % is the share of the phase that is done, AGE the time since the request.

    \b
    Examples:
      phimage job ls
      phimage job ls --all -n 100
      phimage job ls --state failed
    """
    wanted = state or (None if all_ or image else "unfinished")
    project_id = _project_of(session, project)
    fields = session.client.call(
        "ListPHostImageJobs",
        ProjectId=project_id,
        State=wanted and wanted.capitalize(),
        ImageId=image,
        Before=before,
        Limit=limit,
    ).fields
    if as_json:
        print_json({"JobSet": fields["JobSet"], "Next": fields["Next"]})
        return
    rows = (
        (
            one["JobId"],
            one["ImageId"],
            one["State"],
            one["Phase"] or "-",
            _percent(one),
            format_age(one["Age"]),
            one["ProjectId"] or "base",
        )
        for one in fields["JobSet"]
    )
    where = f" in project {project_id}" if project_id else ""
    hint = "; `phimage job ls --all` lists ended ones" if wanted == "unfinished" else ""
    empty = f"no {wanted + ' ' if wanted else ''}publications{where}{hint}"
    print_table(("JOB", "IMAGE", "STATE", "PHASE", "%", "AGE", "PROJECT"), rows, whole=7, empty=empty)
    if fields["Next"]:
        note(f"older ones: add --before {fields['Next']}")


@job.command(short_help="Show one publication.")
@click.argument("id")
@_project_option
@json_option
@signed
def show(session: Session, id: str, project: str | None, as_json: bool) -> None:
    """Show everything about a publication. ID is a job, or an image, whose last publication is shown.

    \b
    Examples:
      phimage job show job-4k2xqz7a9m3d
      phimage job show pimg-os-xev4rz2k
    """
    found = _find(session.client, id, _project_of(session, project))
    if as_json:
        print_json(found)
        return
    for name, text in _lines(found).items():
        echo(f"{name:<10}{printable(text)}")


@job.command(short_help="Cancel a publication.")
@click.argument("id")
@_project_option
@json_option
@signed
def cancel(session: Session, id: str, project: str | None, as_json: bool) -> None:
    """Cancel an unfinished publication, also one that runs. ID is a job, or an image, whose last publication is cancelled.

    The image becomes Unavailable with the reason. A base image that the catalogue file does not name is withdrawn; for one
    that it names, the next `phimage catalog apply` begins again. Uploaded parts are removed by `phimage store gc`.

    \b
    Examples:
      phimage job cancel job-4k2xqz7a9m3d
      phimage job cancel pimg-os-xev4rz2k
    """
    wanted = _project_of(session, project)
    target = id if id.startswith("job-") else _find(session.client, id, wanted)["JobId"]
    fields = session.client.call("CancelPHostImageJob", JobId=target, ProjectId=wanted).fields
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    image = f"{fields['ImageId']} is {fields['ImageState']}" if fields["ImageState"] else f"{fields['ImageId']} is withdrawn"
    what = "is cancelled" if fields["Cancelled"] else f"had ended before: {printable(fields['Error'])}"
    note(f"{fields['JobId']} {what}; {image}")


def format_age(seconds: int) -> str:
    """A time span in its largest unit, such as 42s, 5m, 3h or 12d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _project_of(session: Session, project: str | None) -> str | None:
    """The project of the option or the profile. The server decides what its absence means."""
    return session.given("project", project)


def _find(client: Client, id: str, project: str | None) -> dict[str, Any]:
    """A job by its id, or the newest job of an image. Raises ClientError."""
    by = {"JobId": id} if id.startswith("job-") else {"ImageId": id}
    found: list[dict[str, Any]] = client.call("ListPHostImageJobs", **by, ProjectId=project, Limit=1).fields["JobSet"]
    if not found:
        raise ClientError(f"there is no publication {id}: `phimage job ls --all` lists all that you may see")
    return found[0]


def _percent(one: dict[str, Any]) -> str:
    if one["State"] == "Done":
        return "100"
    return str(min(100, 100 * one["Done"] // one["Total"])) if one["Total"] and one["State"] in _UNFINISHED else "-"


def _lines(one: dict[str, Any]) -> dict[str, str]:
    """The lines of `show`; those without a meaning in the job's state are left out."""
    image = f"{one['ImageId']}, {one['ImageState']}" if one["ImageState"] else f"{one['ImageId']}, withdrawn"
    lines = {
        "job": one["JobId"],
        "image": image,
        "name": one["ImageName"],
        "project": one["ProjectId"] or "none: a base image",
        "state": one["State"],
        "phase": one["State"] != "Done"
        and one["Phase"]
        and f"{one['Phase']}, {one['Done']} of {one['Total'] or 'unknown'} bytes",
        "error": one["Error"],
        "retry": _time(one["RetryTime"]) if one["RetryTime"] else "",
        "requested": f"{_time(one['CreateTime'])}, {format_age(one['Age'])} ago",
        "by": one["Actor"],
        "source": one["Source"],
        "size": f"{one['Size']} bytes" if one["Size"] else "",
        "reused": f"{one['Reused']} bytes that the store had already" if one["Reused"] else "",
        "digest": one["Digest"],
        "override": ", ".join(one["Override"]),
        "reserves": f"{one['Reserved']} bytes of the quota" if one["Reserved"] else "",
        "claims": str(one["Claims"]),
        "failures": f"{one['Failures']} of its source in a row" if one["Failures"] else "",
        "publisher": one["Publisher"],
        "lease": f"renewed {format_age(one['LeaseAge'])} ago" if one["LeaseAge"] >= 0 else "",
    }
    return {name: text for name, text in lines.items() if text}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
