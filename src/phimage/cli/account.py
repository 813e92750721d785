"""`phimage account`, for the operator."""

from __future__ import annotations

import click

from phimage.cli.output import json_option, note, print_json, print_new_key, print_table
from phimage.cli.profile import Session, signed


@click.group(short_help="Open and limit accounts.")
def account() -> None:
    """Open and limit accounts. These commands need a key of the operator."""


@account.command(short_help="Open an account, with its first key.")
@click.argument("name")
@click.option("--company", help="Name of the company.")
@click.option("--email", help="Address of the main user.")
@click.option("--zone", "zones", multiple=True, help="Only this zone may be used; can be given again.")
@click.option("--network", "networks", multiple=True, help="Keys work only from this network; can be given again.")
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
    """Open an account with a main user, a default project and a first key, which is shown once.

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
        ZoneLimit=zones,
        NetworkLimit=networks,
        Operator=operator or None,
    )
    if not as_json:
        note(f"account {name} has the default project {answer.fields['ProjectId']} and the user main with this key:")
    print_new_key(answer.fields, session.profile.endpoint, as_json=as_json)


@account.command("set", short_help="Change what an account is limited to.")
@click.argument("name")
@click.option("--company", help="Name of the company.")
@click.option("--email", help="Address of the main user.")
@click.option("--zone", "zones", multiple=True, help="Only this zone may be used; can be given again.")
@click.option("--any-zone", is_flag=True, help="Every zone may be used.")
@click.option("--network", "networks", multiple=True, help="Keys work only from this network; can be given again.")
@click.option("--any-network", is_flag=True, help="Keys work from everywhere.")
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
    """Change what an account is limited to; what is not given stays as it is.

    \b
    Example:
      phimage account set acme --network 192.0.2.0/24 --network 2001:db8::/32 --any-zone
    """
    session.client.call(
        "ModifyAccount",
        Account=name,
        Company=company,
        Email=email,
        ZoneLimit=zones,
        AnyZone=any_zone or None,
        NetworkLimit=networks,
        AnyNetwork=any_network or None,
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
                found["Account"],
                found["Company"],
                found["Email"],
                "yes" if found["Operator"] else "",
                ", ".join(found["ZoneLimit"]) or "any",
                ", ".join(found["NetworkLimit"]) or "any",
            )
            for found in accounts
        ),
    )
