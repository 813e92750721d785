"""`phimage user`: the users of accounts."""

from __future__ import annotations

import click

from phimage.cli.output import json_option, note, print_json, print_table
from phimage.cli.profile import Session, signed

account_option = click.option("--account", required=True, metavar="NAME", help="The account.")


@click.group(short_help="Add users to accounts.")
def user() -> None:
    """Add users to accounts. These commands need a key of the operator."""


@user.command(short_help="Add a sub-user.")
@click.argument("name")
@account_option
@click.option("--email", help="Email address of the user.")
@json_option
@signed
def add(session: Session, name: str, account: str, email: str | None, as_json: bool) -> None:
    """Add a sub-user. It needs a key, and sees only the projects of which it is a member.

    \b
    Example:
      phimage user add alice --account acme
      phimage project member org-4k2xqz7a alice --account acme --role viewer
      phimage key create --account acme --user alice
    """
    fields = session.client.call("CreateUser", Account=account, User=name, Email=email).fields
    if as_json:
        print_json({"UserId": fields["UserId"]})
    else:
        note(f"user {name} of {account} has the number {fields['UserId']}")


@user.command(short_help="Remove a sub-user.")
@click.argument("name")
@account_option
@signed
def rm(session: Session, name: str, account: str) -> None:
    """Remove a sub-user from an account with its keys and roles, with immediate effect.

    \b
    Example:
      phimage user rm alice --account acme
    """
    session.client.call("RemoveUser", Account=account, User=name)
    note(f"{name} is no longer a user of {account}, and its keys are revoked")


@user.command("ls", short_help="List the users of an account.")
@account_option
@json_option
@signed
def ls(session: Session, account: str, as_json: bool) -> None:
    """List the users of an account with their roles."""
    users = session.client.call("ListUsers", Account=account).fields["UserSet"]
    if as_json:
        print_json(users)
        return
    print_table(
        ("USER", "NUMBER", "EMAIL", "ROLES"),
        (
            (
                user["User"],
                str(user["UserId"]),
                user["Email"],
                "all projects"
                if user["Main"]
                else ", ".join(f"{role} of {project}" for project, role in user["Roles"].items()) or "none",
            )
            for user in users
        ),
    )
