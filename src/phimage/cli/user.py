"""`phimage user`, for the operator."""

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
@click.option("--email", help="Address of the user.")
@json_option
@signed
def add(session: Session, name: str, account: str, email: str | None, as_json: bool) -> None:
    """Add a sub-user. It sees nothing until it is a member of a project and has a key.

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


@user.command(short_help="Take a sub-user out of an account.")
@click.argument("name")
@account_option
@signed
def rm(session: Session, name: str, account: str) -> None:
    """Take a sub-user out of an account, with its keys and roles, at once.

    \b
    Example:
      phimage user rm alice --account acme
    """
    session.client.call("RemoveUser", Account=account, User=name)
    note(f"{name} is no longer a user of {account}, and its keys work no longer")


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
                found["User"],
                str(found["UserId"]),
                found["Email"],
                "all projects"
                if found["Main"]
                else ", ".join(f"{role} of {project}" for project, role in found["Roles"].items()) or "none",
            )
            for found in users
        ),
    )
