"""A new key as commands print it: shown once, with the command that keeps it in a profile that works."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from phimage.cli.output import echo, note, print_json
from phimage.cli.profile import Profile, Session
from phimage.client import Client
from phimage.errors import PhimageError

ANY = "any"
MAIN = "main"


def print_new_key(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a new key, which cannot be shown again."""
    if as_json:
        print_json({name: value for name, value in fields.items() if name not in ("RetCode", "Action")})
        return
    echo(f"public key   {fields['PublicKey']}")
    echo(f"private key  {fields['PrivateKey']}")
    note("The private key cannot be shown again. Keep it, for example with this command, which asks for it:")


def suggest_profile(name: str, profile: Profile, *, replaces: bool = False) -> None:
    """Print the command that keeps a profile; it asks for the private key. `replaces`: that profile has another key."""
    words = ["phimage", "config", "add", name]
    for field in ("endpoint", "public_key", "region", "zone", "project"):
        if value := getattr(profile, field):
            words += [f"--{field.replace('_', '-')}", value]
    note(f"  {shlex.join(words)}{' --replace' if replaces else ''}")


def suggest_profile_of(session: Session, fields: Mapping[str, Any]) -> None:
    """Print the command that keeps a new key of an account with a region, a zone and a project that it may use."""
    account, user, client = fields["Account"], fields["User"], session.client
    profile, project = Profile(session.profile.endpoint, public_key=fields["PublicKey"]), ""
    with suppress(PhimageError):  # the key was printed: the suggestion must not fail the command
        region, zone = _place_of(client, account, session.profile.zone)
        profile = msgspec.structs.replace(profile, region=region, zone=zone)
        project = _project_of(client, account, user)
        profile = msgspec.structs.replace(profile, project=project)
    suggest_profile(account if user == MAIN else f"{account}-{user}", profile)
    if not profile.zone:
        note("It has no zone yet, because the catalogue has none: add --region and --zone later")
    if not project:
        note(f"{user} is in no project yet: phimage project member PROJECT {user} --account {account}, then add --project")


def _place_of(client: Client, account: str, preferred: str) -> tuple[str, str]:
    """The region and zone to start in: the preferred zone, the default one, or the first; empty without any zone."""
    rows = client.call("GetRegion").fields["Regions"]
    accounts = client.call("ListAccounts").fields["AccountSet"]
    limit: Collection[str] = next((one["ZoneLimit"] for one in accounts if one["Account"] == account), ())
    usable = [row for row in rows if not limit or ANY in limit or row["Zone"] in limit]
    usable.sort(key=lambda row: (row["Zone"] != preferred, not row["IsDefault"]))
    return (usable[0]["Region"], usable[0]["Zone"]) if usable else ("", "")


def _project_of(client: Client, account: str, user: str) -> str:
    """The default project for a main user, the first project of a sub-user; empty if it is a member of none."""
    projects = client.call("ListProjects", Account=account).fields["ProjectSet"]
    return next((one["ProjectId"] for one in projects if (one["IsDefault"] if user == MAIN else user in one["Members"])), "")
