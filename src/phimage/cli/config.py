"""`phimage config`: the profiles of the config file."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from phimage.cli.output import echo, json_option, note, print_json, print_table
from phimage.cli.profile import Profile, Session, config_file, read_config, signed, unknown_profile, write_config
from phimage.cli.prompts import ask_secret, at_terminal, confirm
from phimage.errors import ClientError, Refused, SetupError


@click.group(short_help="Keep endpoints and keys in profiles.")
def config() -> None:
    """Keep endpoints and keys in profiles, in ~/.config/phimage/config.toml with mode 0600."""


@config.command(short_help="Add or change a profile.")
@click.argument("name")
@click.option("--endpoint", metavar="URL", help="Address of the server.  [default: http://127.0.0.1:8080]")
@click.option("--public-key", metavar="KEY", help="Public key.")
@click.option("--private-key", metavar="KEY", help="Private key.  [default: ask]")
@click.option("--private-key-stdin", "from_stdin", is_flag=True, help="Read the private key from standard input.")
@click.option("--region", help="Default region of commands.")
@click.option("--zone", help="Default zone of commands.")
@click.option("--project", help="Default project of commands.")
@click.option("--replace", is_flag=True, help="Replace the key of an existing profile by another one.  [default: ask]")
def add(name: str, from_stdin: bool, replace: bool, **given: str | None) -> None:
    """Add or change a profile, and make it the default. What it changed is printed, with the way back.

    \b
    Examples:
      phimage config add lab --endpoint http://127.0.0.1:8080 --public-key KEY --region cn-bj2 --zone cn-bj2-02
      phimage config add lab --zone cn-bj2-05
      pass show phimage/lab | phimage config add lab --public-key KEY --private-key-stdin
    """
    saved = read_config()
    before = saved.profile.get(name)
    profile = before or Profile()
    fields = {field: value for field, value in given.items() if value is not None}
    endpoint = fields.get("endpoint", profile.endpoint)
    if not endpoint.startswith(("http://", "https://")):
        raise click.UsageError(f"--endpoint {endpoint}: expected an address such as http://127.0.0.1:8080")
    if not (profile.public_key or "public_key" in fields):
        raise click.UsageError("a new profile needs --public-key")
    # docs/decisions.md#another-key-of-a-profile-is-replaced-on-demand
    if profile.public_key and fields.get("public_key", profile.public_key) != profile.public_key and not replace:
        confirm(f"Replace the key {profile.public_key} of the profile {name}?", "use --replace, or another name")
    if from_stdin or ("public_key" in fields and "private_key" not in fields):
        fields["private_key"] = _private_key(ask=not from_stdin)
    profiles = {**saved.profile, name: msgspec.structs.replace(profile, **fields)}
    write_config(msgspec.structs.replace(saved, profile=profiles, default=name))
    note(f"profile {name} is in {config_file()} and in use")
    if before is not None:
        changed = [field for field in fields if getattr(before, field) != fields[field]]
        note(f"it was there before; changed: {', '.join(changed) or 'nothing'}")
    if saved.default != name and saved.default in saved.profile:
        note(f"before, {saved.default} was in use: phimage config use {saved.default}")


def _private_key(*, ask: bool) -> str:
    """The private key from a prompt, or from standard input. Raises ClientError if there is none."""
    remedy = "pipe it to --private-key-stdin"
    if ask and at_terminal():
        return ask_secret("private key", remedy).strip()
    key = sys.stdin.readline().strip()
    if not key and ask:
        return ask_secret("private key", remedy)  # raises: there is no terminal
    if not key:
        raise ClientError(f"standard input has no private key: {remedy}")
    return key


@config.command(short_help="Check that a profile works.")
@json_option
@signed
def check(session: Session, as_json: bool) -> None:
    """Call the server with the profile in use, or with --profile: who is it, and do its region, zone and project exist?

    Exits with 1 if something is wrong, with a remedy for each.

    \b
    Examples:
      phimage config check
      phimage config check --profile lab
    """
    profile, problems = session.profile, []
    user = session.client.call("GetUserInfo").fields["DataSet"][0]
    place = {"Region": profile.region or None, "Zone": profile.zone or None, "ProjectId": profile.project or None}
    try:
        if profile.region:
            session.client.call("DescribePHostImage", **place, Limit=0)
    except Refused as refused:
        problems.append(f"{refused}; change it with: phimage config add NAME --region ... --zone ... --project ...")
    found: dict[str, Any] = {"Endpoint": profile.endpoint, "User": user["UserName"], "Company": user["CompanyName"]}
    found |= {"Region": profile.region, "Zone": profile.zone, "Project": profile.project, "Problems": problems}
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            echo(f"{name:<10}{'; '.join(value) if isinstance(value, list) else value or '-'}")
    if problems:
        sys.exit(1)


@config.command("ls", short_help="List the profiles.")
@json_option
def ls(as_json: bool) -> None:
    """List the profiles, without private keys."""
    saved = read_config()
    rows = [
        {"Profile": name, "InUse": name == saved.default, "Endpoint": profile.endpoint, "PublicKey": profile.public_key}
        | {"Region": profile.region, "Zone": profile.zone, "Project": profile.project}
        for name, profile in saved.profile.items()
    ]
    if as_json:
        print_json(rows)
        return
    columns = ("Profile", "Endpoint", "PublicKey", "Region", "Zone", "Project")
    print_table(
        ("", *(column.upper() for column in columns)),
        (("*" if row["InUse"] else "", *(str(row[column]) for column in columns)) for row in rows),
        whole=2,
        empty="no profiles: add one with `phimage config add`",
    )


@config.command(short_help="Make a profile the default.")
@click.argument("name")
def use(name: str) -> None:
    """Make a profile the default."""
    saved = read_config()
    _check_exists(name, list(saved.profile))
    write_config(msgspec.structs.replace(saved, default=name))
    note(f"profile {name} is in use")


@config.command(short_help="Remove a profile.")
@click.argument("name")
def rm(name: str) -> None:
    """Remove a profile with its key."""
    saved = read_config()
    _check_exists(name, list(saved.profile))
    profiles = {other: profile for other, profile in saved.profile.items() if other != name}
    write_config(msgspec.structs.replace(saved, profile=profiles))
    if name == saved.default:
        note("no profile is in use now: choose one with `phimage config use NAME`" if profiles else "no profile is left")


def _check_exists(name: str, names: list[str]) -> None:
    if name not in names:
        raise SetupError(unknown_profile(name, names))
