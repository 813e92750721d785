"""`phimage account`: the accounts of the cloud."""

from __future__ import annotations

import click

from phimage.cli.new_key import print_new_key, suggest_profile_of
from phimage.cli.output import json_option, note, print_json, print_table
from phimage.cli.profile import Session, signed


@click.group(short_help="Open accounts and set their limits.")
def account() -> None:
    """Open accounts and set their limits. These commands need a key of the operator."""


@account.command(short_help="Open an account with its first key.")
@click.argument("name")
@click.option("--company", help="Company name.")
@click.option("--email", help="Email address of the main user.")
@click.option("--zone", "zones", multiple=True, help="Allow only this zone; may be repeated.")
@click.option("--network", "networks", multiple=True, help="Allow keys only from this network; may be repeated.")
@click.option("--operator", is_flag=True, help="The account runs the cloud.")
@json_option
@signed
def add(
    session: Session,
    name: str,
    company: str | None,
    email: str | None,
    zones: tuple[str, ...],
    networks: tuple[str, ...],
    operator: bool,
    as_json: bool,
) -> None:
    """Open an account with a main user, a default project and a first key. The private key is shown only once.

    \b
    Examples:
      phimage account add acme --company "Acme Ltd" --email it@acme.example
      phimage account add lab --zone cn-bj2-02 --network 192.0.2.0/24
    """
    answer = session.client.call(
        "CreateAccount",
        Account=name,
        Company=company,
        Email=email,
        ZoneLimit=zones or ("any",),
        NetworkLimit=networks or ("any",),
        Operator=operator or None,
    )
    if not as_json:
        note(f"account {name} has the default project {answer.fields['ProjectId']} and the user main, with this key:")
    print_new_key(answer.fields, as_json=as_json)
    if not as_json:
        suggest_profile_of(session, answer.fields)


@account.command("set", short_help="Change the details and limits of an account.")
@click.argument("name")
@click.option("--company", help="Company name.")
@click.option("--email", help="Email address of the main user.")
@click.option("--zone", "zones", multiple=True, help="Allow only this zone; may be repeated.")
@click.option("--any-zone", is_flag=True, help="Allow every zone.")
@click.option("--network", "networks", multiple=True, help="Allow keys only from this network; may be repeated.")
@click.option("--any-network", is_flag=True, help="Allow keys from every network.")
@signed
def set_(
    session: Session,
    name: str,
    company: str | None,
    email: str | None,
    zones: tuple[str, ...],
    any_zone: bool,
    networks: tuple[str, ...],
    any_network: bool,
) -> None:
    """Change the details and limits of an account. Options that are left out change nothing.

    \b
    Example:
      phimage account set acme --network 192.0.2.0/24 --network 2001:db8::/32 --any-zone
    """
    session.client.call(
        "ModifyAccount",
        Account=name,
        Company=company,
        Email=email,
        ZoneLimit=("any",) if any_zone else zones,
        NetworkLimit=("any",) if any_network else networks,
    )


@account.command("ls", short_help="List the accounts.")
@json_option
@signed
def ls(session: Session, as_json: bool) -> None:
    """List the accounts."""
    accounts = session.client.call("ListAccounts").fields["AccountSet"]
    if as_json:
        print_json(accounts)
        return
    print_table(
        ("ACCOUNT", "COMPANY", "EMAIL", "OPERATOR", "ZONES", "NETWORKS"),
        (
            (
                account["Account"],
                account["Company"],
                account["Email"],
                "yes" if account["Operator"] else "",
                ", ".join(account["ZoneLimit"]) or "any",
                ", ".join(account["NetworkLimit"]) or "any",
            )
            for account in accounts
        ),
    )
