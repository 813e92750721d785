"""`phimage catalog`: the catalogue as code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from phimage.cli.error_report import FileErrors
from phimage.cli.exit_codes import DIFFERENCES, file_errors
from phimage.cli.output import console, json_option, note, print_json, printable, working
from phimage.cli.profile import Session, signed
from phimage.cli.prompts import at_terminal, confirm
from phimage.client import ActionResponse
from phimage.errors import ClientError, Refused

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "restored": ("+", "green"), "withdrawn": ("-", "red")}


class WithdrawalNotConfirmed(ClientError):
    """Pruning would withdraw a number of images that was not confirmed."""

    exit_code = 65


file_argument = click.argument("file", type=click.Path(allow_dash=True))
verbose_option = click.option("--verbose", "-v", is_flag=True, help="List what is not in the file and stays.")
prune_option = click.option(
    "--prune", is_flag=True, help="Withdraw what the file does not name, except images that no applied file has named."
)


@click.group(short_help="Keep the catalogue as a YAML file.")
def catalog() -> None:
    """Keep the catalogue as a YAML file: places, machine types and base images.

    `plan`, `apply` and `export` need a key of the operator.
    """


@catalog.command(short_help="Show what a file would change.")
@file_argument
@prune_option
@verbose_option
@json_option
@signed
def plan(session: Session, file: str, prune: bool, verbose: bool, as_json: bool) -> None:
    """Show what a file would change. Exits with 0 without differences, with 2 otherwise. `-` reads standard input.

    \b
    Examples:
      phimage catalog plan catalog.yaml
      phimage catalog export | phimage catalog plan -
    """
    answer = _call(session, "PlanCatalog", file, _read(file), prune)
    _print(answer, as_json=as_json, done=False, verbose=verbose)
    sys.exit(DIFFERENCES if answer.fields["DifferenceSet"] else 0)


@catalog.command(short_help="Apply a file to the catalogue.")
@file_argument
@prune_option
@click.option("--yes", "agreed", type=click.IntRange(0), metavar="N", help="Confirm that --prune withdraws N images.")
@verbose_option
@json_option
@signed
def apply(session: Session, file: str, prune: bool, agreed: int | None, verbose: bool, as_json: bool) -> None:
    """Apply a file to the catalogue in one revision, and show what changed. `-` reads standard input.

    When --prune would withdraw images, it lists them and asks. Without a terminal it changes nothing and exits with 65, unless
    --yes gives their exact number.

    \b
    Examples:
      phimage catalog apply catalog.yaml
      phimage catalog apply --prune catalog.yaml
      phimage catalog apply --prune --yes 2 catalog.yaml
    """
    text = _read(file)
    try:
        answer = _call(session, "ApplyCatalog", file, text, prune, agreed)
    except Refused as refused:
        images = refused.answer.get("WithdrawSet")
        if not isinstance(images, list):
            raise
        _confirm(file, images, agreed)
        answer = _call(session, "ApplyCatalog", file, text, prune, len(images))
    _print(answer, as_json=as_json, done=True, verbose=verbose)


def _confirm(file: str, images: list[dict[str, str]], agreed: int | None) -> None:
    """List the images that would be withdrawn and ask. Raises WithdrawalNotConfirmed without a terminal."""
    for image in images:
        note(f"- image {image['ImageId']}  ({printable(image['ImageName'])})")
    count = f"{len(images)} image{'' if len(images) == 1 else 's'}"
    if agreed is None and at_terminal():
        confirm(f"Withdraw {count}?", "")
        return
    options = ("--prune", "--yes", str(len(images))) if images else ("--prune",)
    command = shlex.join(("phimage", "catalog", "apply", *_given_options(), *options, file))
    raise WithdrawalNotConfirmed(f"pruning would withdraw {count}; nothing was changed. To confirm: {command}")


def _given_options() -> Iterator[str]:
    """The given options that choose the server, without keys."""
    context = click.get_current_context()
    for name, option in (("profile_name", "--profile"), ("endpoint", "--endpoint")):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            yield from (option, context.params[name])


@catalog.command(short_help="Write the catalogue as a file.")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: standard output]")
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
        with file_errors(output, "choose another file with -o"):
            output.write_text(text, "utf-8")


@catalog.command(short_help="Print the JSON Schema of the catalogue file.")
def schema() -> None:
    """Print the JSON Schema of the catalogue file, for completion and checks in editors.

    \b
    Example:
      phimage catalog schema > catalog.schema.json
    """
    from phimage.catalog_file.document import json_schema

    click.echo(json_schema(), nl=False)


@catalog.command(short_help="Print the catalogue that ships with phimage.")
def starter() -> None:
    """Print the catalogue that ships with phimage: real regions, machine types and images as a starting point.

    \b
    Example:
      phimage catalog starter > catalog.yaml
    """
    from phimage.catalog_file import starter as text

    click.echo(text(), nl=False)


def _read(file: str) -> str:
    try:
        with click.open_file(file, "rb") as stream:
            text: str = stream.read().decode("utf-8")
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}; check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise ClientError(f"{file} is not UTF-8: byte {error.start}") from None
    if not text:
        raise ClientError(f"{_name(file)} is empty; `phimage catalog starter` prints a catalogue to begin with")
    return text


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _call(session: Session, action: str, file: str, text: str, prune: bool, withdraw: int | None = None) -> ActionResponse:
    """Send a file. Raises FileErrors if it has any."""
    try:
        with working("reading the catalogue"):
            return session.client.call(action, Catalog=text, Prune=prune or None, Withdraw=withdraw)
    except Refused as refused:
        errors: Any = refused.answer.get("Errors")
        if not errors:
            raise
        raise FileErrors(_name(file), errors) from None


def _print(answer: ActionResponse, *, as_json: bool, done: bool, verbose: bool) -> None:
    fields = answer.fields
    if as_json:
        print_json({name: fields[name] for name in ("Revision", "DifferenceSet", "KeptSet", "SparedSet", "AdoptedSet")})
        return
    out = console()
    counts = dict.fromkeys(_SIGNS, 0)
    for difference in fields["DifferenceSet"]:
        counts[difference["Verb"]] += 1
        sign, color = _SIGNS[difference["Verb"]]
        title = f"  ({printable(difference['Title'])})" if difference["Title"] else ""
        out.print(f"{sign} {difference['Noun'].replace('_', ' ')} {difference['Id']}{title}", style=color, soft_wrap=True)
        for field in difference["Fields"]:
            old, new = (printable(field[name]) or "nothing" for name in ("Old", "New"))
            out.print(f"    {field['Field']}: {old} -> {new}", soft_wrap=True)
    if fields["KeptSet"]:
        _print_kept(fields["KeptSet"], verbose=verbose)
    if fields["SparedSet"]:
        note(f"spares {_published(fields['SparedSet'])}")
    if fields["AdoptedSet"]:
        note(f"{'took' if done else 'would take'} over {_published(fields['AdoptedSet'])}")
    if not fields["DifferenceSet"]:
        note(f"no changes: the catalogue matches the file at revision {fields['Revision']}")
        return
    summary = ", ".join(f"{count} {'' if done else 'to be '}{verb}" for verb, count in counts.items() if count)
    state = f"revision {fields['Revision']}" if done else "nothing was changed yet"
    note(f"{summary}; {state}")


def _print_kept(kept: list[dict[str, str]], *, verbose: bool) -> None:
    """Print what the file does not name: how many entries, or all of them."""
    out = console()
    for entry in kept if verbose else ():
        noun = entry["Noun"].replace("_", " ")
        out.print(f"  {noun} {entry['Id']} is not in the file and stays", style="dim", soft_wrap=True)
    what = "1 entry is not in the file and stays" if len(kept) == 1 else f"{len(kept)} entries are not in the file and stay"
    note(f"{what}{'' if verbose else ' (--verbose lists them)'}; --prune would withdraw what stays")


def _published(images: list[dict[str, str]]) -> str:
    ids = ", ".join(image["Id"] for image in images)
    return f"{len(images)} published image{'' if len(images) == 1 else 's'}: {ids}"
