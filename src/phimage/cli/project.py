"""`phimage project`: the projects of accounts and their members."""

from __future__ import annotations

import click

from phimage.cli.output import echo, json_option, note, print_json, print_table
from phimage.cli.profile import Session, signed
from phimage.cli.user import account_option


@click.group(short_help="Add projects, and members to them.")
def project() -> None:
    """Add projects to accounts, and members to projects. These commands need a key of the operator."""


@project.command(short_help="Add a project.")
@click.argument("name")
@account_option
@json_option
@signed
def add(session: Session, name: str, account: str, as_json: bool) -> None:
    """Add a project and print its id.

    \b
    Example:
      phimage project add Web --account acme
    """
    fields = session.client.call("CreateProject", Account=account, ProjectName=name).fields
    if as_json:
        print_json({"ProjectId": fields["ProjectId"]})
    else:
        echo(fields["ProjectId"])


@project.command(short_help="Remove a project.")
@click.argument("id")
@account_option
@signed
def rm(session: Session, id: str, account: str) -> None:
    """Remove a project from an account. It must have no custom images and must not be the default project.

    \b
    Example:
      phimage project rm org-4k2xqz7a --account acme
    """
    session.client.call("RemoveProject", Account=account, ProjectId=id)
    note(f"{id} is no longer a project of {account}")


@project.command("ls", short_help="List the projects of an account.")
@account_option
@json_option
@signed
def ls(session: Session, account: str, as_json: bool) -> None:
    """List the projects of an account with their members."""
    projects = session.client.call("ListProjects", Account=account).fields["ProjectSet"]
    if as_json:
        print_json(projects)
        return
    print_table(
        ("PROJECT ID", "NAME", "DEFAULT", "MEMBERS"),
        (
            (
                project["ProjectId"],
                project["ProjectName"],
                "yes" if project["IsDefault"] else "",
                ", ".join(f"{user} ({role})" for user, role in project["Members"].items()) or "main user only",
            )
            for project in projects
        ),
    )


@project.command(short_help="Add a member, or change its role.")
@click.argument("id")
@click.argument("user")
@account_option
@click.option("--role", type=click.Choice(["viewer", "editor"]), default="viewer", show_default=True, help="Its role.")
@click.option("--remove", is_flag=True, help="Remove the user from the project.")
@signed
def member(session: Session, id: str, user: str, account: str, role: str, remove: bool) -> None:
    """Add a sub-user to a project, change its role there, or remove it.

    A viewer lists and downloads images; an editor also changes custom images.

    \b
    Example:
      phimage project member org-4k2xqz7a alice --account acme --role editor
    """
    if remove:
        session.client.call("RemoveProjectMember", Account=account, ProjectId=id, User=user)
    else:
        session.client.call("SetProjectMember", Account=account, ProjectId=id, User=user, Role=role)
