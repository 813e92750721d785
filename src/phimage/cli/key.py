"""`phimage key`: access keys."""

from __future__ import annotations

import time

import click

from phimage.cli.installation import of_installation, patience
from phimage.cli.new_key import print_new_key, suggest_profile, suggest_profile_of
from phimage.cli.output import json_option, minute, note, print_json, print_table
from phimage.cli.profile import Profile, Session, read_config, signed
from phimage.cli.user import account_option
from phimage.errors import SetupError
from phimage.settings import Settings


@click.group(short_help="Create and revoke access keys.")
def key() -> None:
    """Create and revoke access keys. These commands need a key of the operator."""


@key.command(short_help="Create a key for a user.")
@account_option
@click.option("--user", default="main", show_default=True, help="The user.")
@click.option("--days", type=click.IntRange(1, 36_500), metavar="N", help="Let the key expire after N days; by default never.")
@json_option
@signed
def create(session: Session, account: str, user: str, days: int | None, as_json: bool) -> None:
    """Create another key for a user. The private key is shown only once.

    \b
    Examples:
      phimage key create --account acme --user alice
      phimage key create --account acme --user build --days 90
    """
    expires = int(time.time()) + days * 86_400 if days else 0
    answer = session.client.call("CreateAccessKey", Account=account, User=user, ExpireTime=expires)
    print_new_key(answer.fields, as_json=as_json)
    if not as_json:
        suggest_profile_of(session, answer.fields)


@key.command("ls", short_help="List the keys of an account.")
@account_option
@json_option
@signed
def ls(session: Session, account: str, as_json: bool) -> None:
    """List the valid keys of an account."""
    keys = session.client.call("ListAccessKeys", Account=account).fields["KeySet"]
    if as_json:
        print_json(keys)
        return
    print_table(
        ("PUBLIC KEY", "USER", "CREATED", "EXPIRES", "LAST USED"),
        (
            (
                key["AccessKey"],
                key["User"],
                minute(key["CreateTime"]),
                minute(key["ExpireTime"]) if key["ExpireTime"] else "never",
                key["LastUsed"] or "never",
            )
            for key in keys
        ),
        empty="no keys",
    )


@key.command(short_help="Revoke a key.")
@click.argument("public_key_to_revoke", metavar="PUBLIC_KEY")
@signed
def revoke(session: Session, public_key_to_revoke: str) -> None:
    """Revoke a key, with immediate effect.

    \b
    Example:
      phimage key revoke phimageab3d...
    """
    session.client.call("RevokeAccessKey", AccessKey=public_key_to_revoke)
    note("the key is revoked")


@key.command(short_help="Create an operator key on this machine.")
@of_installation
@json_option
def recover(settings: Settings, as_json: bool) -> None:
    """Create a new key of the operator account directly in the database, as a replacement for a lost one.

    It needs read access to the master key instead of a key, and is a revision in the log like every change.

    \b
    Example:
      phimage key recover --data-dir /var/lib/phimage
    """
    from phimage.installation import OPERATOR, recover_operator_key

    new = recover_operator_key(settings, patience())
    fields = {"Account": OPERATOR, "User": "main", "PublicKey": new.public, "PrivateKey": new.private.reveal()}
    print_new_key(fields, as_json=as_json)
    if not as_json:
        known = _has_profile(OPERATOR)
        endpoint = "" if known else settings.local_url
        suggest_profile(OPERATOR, Profile(endpoint, public_key=new.public), replaces=known)


def _has_profile(name: str) -> bool:
    """Whether the caller has a profile. The file may be another user's, as under `runuser`."""
    try:
        return name in read_config().profile
    except SetupError:
        return False


@key.command("rotate-master", short_help="Replace the master key.")
@of_installation
@json_option
def rotate_master(settings: Settings, as_json: bool) -> None:
    """Replace the master key, and encrypt all private keys anew. Access keys stay as they are.

    Stop the servers before, and start them after every machine has the new master key: a server holds it in memory. Download
    and upload URLs that were handed out end. The old master key is kept beside the new one, because older backups need it.
    After an interruption, run the same command again.

    \b
    Example:
      phimage key rotate-master --data-dir /var/lib/phimage
    """
    from phimage.installation import rotate_master_key

    count, kept = rotate_master_key(settings, patience())
    if as_json:
        print_json({"Keys": count, "MasterKey": str(settings.master_key_file), "OldMasterKey": str(kept)})
        return
    note(f"{count} keys are encrypted with the new master key in {settings.master_key_file}")
    note(f"{kept} has the old one: keep it in a safe place as long as you keep backups of before, then remove it")
    note("a place of backups belongs to one master key: choose a new place for the next backup")
