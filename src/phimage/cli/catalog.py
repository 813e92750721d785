"""`phimage catalog`: the catalogue as code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from phimage.cli.ending import naming
from phimage.cli.output import console, json_option, note, print_json, working
from phimage.cli.profile import Session, signed
from phimage.client import Answer
from phimage.errors import ClientError, Refused

CHANGES = 2
"""Exit code of a plan that would change something."""

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "withdrawn": ("-", "red")}

file_argument = click.argument("file", type=click.Path(allow_dash=True))
prune_option = click.option("--prune", is_flag=True, help="Withdraw what the file does not name.")


@click.group(short_help="Keep the catalogue as a YAML file.")
def catalog() -> None:
    """Keep the catalogue as a YAML file: places, machine types and base images.

    `plan`, `apply` and `export` need a key of the operator.
    """


@catalog.command(short_help="Show what a file would change.")
@file_argument
@prune_option
@json_option
@signed
def plan(session: Session, file: str, prune: bool, as_json: bool) -> None:
    """Show what a file would change. Exits 0 if nothing, 2 if something. `-` reads standard input.

    \b
    Examples:
      phimage catalog plan catalog.yaml
      phimage catalog export | phimage catalog plan -
    """
    answer = _send(session, "PlanCatalog", file, prune)
    _print(answer, as_json=as_json, done=False)
    sys.exit(CHANGES if answer.fields["DifferenceSet"] else 0)


@catalog.command(short_help="Make the catalogue as a file wants it.")
@file_argument
@prune_option
@json_option
@signed
def apply(session: Session, file: str, prune: bool, as_json: bool) -> None:
    """Make the catalogue as a file wants it, in one revision, and show what changed. `-` reads standard input.

    \b
    Examples:
      phimage catalog apply catalog.yaml
      phimage catalog apply --prune catalog.yaml
    """
    _print(_send(session, "ApplyCatalog", file, prune), as_json=as_json, done=True)


@catalog.command(short_help="Write the catalogue as a file.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="As revision N had it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; standard output if not given.")
@signed
def export(session: Session, rev: int | None, output: Path | None) -> None:
    """Write the catalogue as a file. The same catalogue always gives the same bytes.

    \b
    Examples:
      phimage catalog export -o catalog.yaml
      phimage catalog export --rev 12
    """
    client = session.client if rev is None else session.client.at(rev)
    text = client.call("ExportCatalog").fields["Catalog"]
    if output is None:
        click.echo(text, nl=False)
    else:
        with naming(output):
            output.write_text(text, "utf-8")


@catalog.command(short_help="Print the JSON Schema of the file.")
def schema() -> None:
    """Print the JSON Schema of the file, with which editors complete and check it.

    \b
    Example:
      phimage catalog schema > catalog.schema.json
    """
    from phimage.manifest.schema import json_schema

    click.echo(json_schema(), nl=False)


@catalog.command(short_help="Print the catalogue that ships with phimage.")
def starter() -> None:
    """Print the catalogue that ships with phimage: real regions, machine types and images to start from.

    \b
    Example:
      phimage catalog starter > catalog.yaml
    """
    from phimage.manifest import starter as text

    click.echo(text(), nl=False)


def _send(session: Session, action: str, file: str, prune: bool) -> Answer:
    try:
        with click.open_file(file, "rb") as stream:
            text = stream.read().decode("utf-8")
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ClientError(f"{file} is not UTF-8: byte {error.start}") from None
    name = "standard input" if file == "-" else file
    if not text:
        raise ClientError(f"{name} is empty; `phimage catalog starter` prints one to start from")
    try:
        with working("reading the catalogue"):
            return session.client.call(action, Catalog=text, Prune=prune or None)
    except Refused as refused:
        mistakes: Any = refused.answer.get("Mistakes")
        if not mistakes:
            raise
        for found in mistakes:
            field = f"{found['Field']}: " if found["Field"] else ""
            note(f"{name}:{found['Line']}:{found['Column']}: {field}{found['Message']}")
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ClientError(f"{count} in {name}; nothing was changed") from None


def _print(answer: Answer, *, as_json: bool, done: bool) -> None:
    fields = answer.fields
    if as_json:
        print_json({name: fields[name] for name in ("Revision", "DifferenceSet", "KeptSet")})
        return
    out = console()
    counts = dict.fromkeys(_SIGNS, 0)
    for found in fields["DifferenceSet"]:
        counts[found["Verb"]] += 1
        sign, color = _SIGNS[found["Verb"]]
        title = f"  ({found['Title']})" if found["Title"] else ""
        out.print(f"{sign} {found['Noun'].replace('_', ' ')} {found['Id']}{title}", style=color, soft_wrap=True)
        for field in found["Fields"]:
            out.print(f"    {field['Field']}: {field['Old'] or 'nothing'} -> {field['New'] or 'nothing'}", soft_wrap=True)
    for kept in fields["KeptSet"]:
        out.print(f"  {kept['Noun'].replace('_', ' ')} {kept['Id']} is not in the file and stays", style="dim", soft_wrap=True)
    if fields["KeptSet"]:
        note("what stays can be withdrawn with --prune")
    if not fields["DifferenceSet"]:
        note(f"no changes: the catalogue is as the file wants it at revision {fields['Revision']}")
        return
    told = ", ".join(f"{count} {'' if done else 'to be '}{verb}" for verb, count in counts.items() if count)
    state = f"revision {fields['Revision']}" if done else "nothing was changed yet"
    note(f"{told}; {state}")
