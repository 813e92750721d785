"""`phimage quota`: limits for the bytes of a project's images."""

from __future__ import annotations

import click

from phimage.cli.output import json_option, print_json, print_table
from phimage.cli.profile import Session, signed


@click.group(short_help="Limit the bytes of a project's images.")
def quota() -> None:
    """Limit the bytes of a project's images. Needs a key of the operator."""


@quota.command("set", short_help="Set or remove the quota of a project.")
@click.argument("project", metavar="PROJECT|Base")
@click.argument("size", metavar="SIZE|none")
@signed
def set_(session: Session, project: str, size: str) -> None:
    """Limit the raw disks of a project's images to SIZE bytes together (100G, 2T, or a number); `none` removes the limit.

    \b
    Examples:
      phimage quota set org-4k2xqz7a 500G
      phimage quota set Base none
    """
    session.client.call("SetQuota", Project=project, Limit=-1 if size == "none" else _bytes(size))


@quota.command(short_help="List the quotas and their use.")
@json_option
@signed
def ls(session: Session, as_json: bool) -> None:
    """List the quotas and their use.

    \b
    Example:
      phimage quota ls
    """
    quotas = session.client.call("ListQuotas").fields["QuotaSet"]
    if as_json:
        print_json({"QuotaSet": quotas})
        return
    rows = ([one["Project"], *(_gib(one[name]) for name in ("Limit", "Published", "Reserved"))] for one in quotas)
    print_table(("PROJECT", "QUOTA", "PUBLISHED", "BEING PUBLISHED"), rows, empty="no quotas: nothing limits projects")


def _bytes(text: str) -> int:
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in units else (text, "")
    if not number.isdecimal():
        raise click.UsageError(f"{text!r} is not a size; expected a number of bytes, or a number followed by K, M, G or T")
    return int(number) << units.get(unit, 0)


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
