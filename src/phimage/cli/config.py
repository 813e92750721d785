"""`phimage config`: the profiles of the config file."""

from __future__ import annotations

import click
import msgspec

from phimage.cli.output import json_option, note, print_json, print_table
from phimage.cli.profile import Profile, config_file, read_config, write_config
from phimage.errors import SetupError


@click.group(short_help="Keep endpoints and keys in profiles.")
def config() -> None:
    """Keep endpoints and keys in profiles, in ~/.config/phimage/config.toml with mode 0600."""


@config.command(short_help="Add or change a profile.")
@click.argument("name")
@click.option("--endpoint", metavar="URL", help="Address of the server.  [default: http://127.0.0.1:8080]")
@click.option("--public-key", metavar="KEY", help="Public key.")
@click.option("--private-key", metavar="KEY", help="Private key.  [default: ask]")
@click.option("--region", help="Default region of commands.")
@click.option("--zone", help="Default zone of commands.")
@click.option("--project", help="Default project of commands.")
def add(name: str, **given: str | None) -> None:
    """Add or change a profile, and make it the default.

    \b
    Example:
      phimage config add lab --endpoint http://127.0.0.1:8080 --public-key KEY --region cn-bj2 --zone cn-bj2-02
    """
    saved = read_config()
    profile = saved.profile.get(name, Profile())
    fields = {field: value for field, value in given.items() if value is not None}
    if not (profile.public_key or "public_key" in fields):
        raise click.UsageError("a new profile needs --public-key")
    if "public_key" in fields and "private_key" not in fields:
        fields["private_key"] = click.prompt("private key", hide_input=True, err=True).strip()
    profiles = {**saved.profile, name: msgspec.structs.replace(profile, **fields)}
    write_config(msgspec.structs.replace(saved, profile=profiles, default=name))
    note(f"profile {name} is in {config_file()} and in use")


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


@config.command(short_help="Remove a profile.")
@click.argument("name")
def rm(name: str) -> None:
    """Remove a profile with its key."""
    saved = read_config()
    _check_exists(name, list(saved.profile))
    profiles = {other: profile for other, profile in saved.profile.items() if other != name}
    write_config(msgspec.structs.replace(saved, profile=profiles))


def _check_exists(name: str, names: list[str]) -> None:
    if name not in names:
        raise SetupError(f"{config_file()} has no profile {name!r}; it has {', '.join(names) or 'none'}")
