"""`phimage image hosts`: the hosts that an image is on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from phimage.cli.host import print_hosts, project_option
from phimage.cli.output import json_option, note
from phimage.cli.profile import Session, signed

MAX_NAMED = 10
"""Max hosts that a note names."""


@click.command(short_help="List the hosts that run an image.")
@click.argument("id")
@project_option
@json_option
@signed
def hosts(session: Session, id: str, project: str | None, as_json: bool) -> None:
    """List the hosts whose disk has an image that phimage installed. Operators see all, others those of their project.

    \b
    Example:
      phimage image hosts pimg-os-xev4rz2k
    """
    print_hosts(session, as_json, f"no host runs {id}", ImageId=id, ProjectId=session.given("project", project))


def note_hosts(image: str, found: Sequence[dict[str, Any]]) -> None:
    """Name the hosts that a change of an image concerns."""
    for text, some in (
        ("run", [one["PHostId"] for one in found if not one["Deploying"]]),
        ("are being installed with", [one["PHostId"] for one in found if one["Deploying"]]),
    ):
        if some:
            more = f" and {len(some) - MAX_NAMED} more" if len(some) > MAX_NAMED else ""
            count = f"{len(some)} hosts" if len(some) > 1 else "1 host"
            verb = text if len(some) > 1 else {"run": "runs"}.get(text, text.replace("are", "is"))
            note(f"{count} {verb} {image}: {', '.join(some[:MAX_NAMED])}{more}")
