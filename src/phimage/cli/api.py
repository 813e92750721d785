"""`phimage api`: any Action, as it is on the wire."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from phimage.cli.output import json_option, print_json, print_table
from phimage.cli.profile import Connect, connecting
from phimage.errors import ClientError, Refused

if TYPE_CHECKING:
    from phimage.gateway.describe import FieldText

OURS = ("Action", "PublicKey", "Signature")
"""Parameters that the command makes itself."""


@click.command(short_help="Call any Action, or list them all.")
@click.argument("action", required=False)
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Ask the catalogue as revision N had it.")
@click.option("--describe", is_flag=True, help="Print what the Action takes and answers; nothing is called.")
@json_option
@connecting
def api(
    connect: Connect, action: str | None, parameters: tuple[str, ...], rev: int | None, describe: bool, as_json: bool
) -> None:
    """Call an Action, signed, and print its answer as JSON: indented on a terminal or with --json, else on one line.

    What you write is what is sent: the profile gives the address and the key, but never a Region, Zone or ProjectId.
    Elements of a list are Name.0=a Name.1=b. NAME=@FILE takes the value from a file, NAME=@- from standard input, and
    NAME=@@text is a value that begins with @.

    Exits 1 when the RetCode is not 0; the answer is printed all the same. Without ACTION, lists all Actions.

    \b
    Examples:
      phimage api
      phimage api --describe DescribePHostImage
      phimage api DescribePHostImage Region=cn-bj2 Zone=cn-bj2-02 ImageId.0=pimg-cs-xev4rz
      phimage api PlanCatalog Catalog=@catalog.yaml
    """
    if action is None:
        _list_actions(as_json=as_json)
    elif describe:
        _describe(action, as_json=as_json)
    else:
        given = _given(parameters)
        with connect() as session:
            client = session.client if rev is None else session.client.at(rev)
            try:
                answer, code = client.call(action, **given).fields, 0
            except Refused as refused:
                answer, code = refused.answer, 1
        if as_json or sys.stdout.isatty():
            print_json(answer)
        else:
            click.echo(msgspec.json.encode(answer))
        sys.exit(code)


def _given(parameters: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.UsageError(f"{text!r} is not NAME=VALUE")
        if name in OURS:
            raise click.UsageError(f"{name} is not for you to give: the command makes {', '.join(OURS)} itself")
        if name in given:
            raise click.UsageError(f"{name} is given twice; elements of a list are {name}.0, {name}.1, ...")
        given[name] = _value(value)
    return given


def _value(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    name = text[1:]
    try:
        return sys.stdin.buffer.read().decode() if name == "-" else Path(name).read_bytes().decode()
    except OSError as error:
        raise ClientError(f"{name or 'a file without a name'} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ClientError(f"{name} is not UTF-8: byte {error.start}") from None


def _list_actions(*, as_json: bool) -> None:
    from phimage.actions import registry
    from phimage.gateway.describe import first_sentence, required_role

    actions = sorted(registry(), key=lambda action: action.name)
    if as_json:
        print_json(
            [
                {
                    "Action": found.name,
                    "Summary": first_sentence(found.summary),
                    "Who": required_role(found),
                    "Changes": found.changes,
                }
                for found in actions
            ]
        )
        return
    print_table(
        ("ACTION", "WHO MAY CALL IT", "WHAT IT IS FOR"),
        ((found.name, required_role(found), first_sentence(found.summary)) for found in actions),
    )


def _describe(name: str, *, as_json: bool) -> None:
    from phimage.actions import registry
    from phimage.fields import nested_records
    from phimage.gateway import describe

    actions = registry()
    action = actions.get(name)
    if action is None:
        raise ClientError(f"there is no Action {name}; `phimage api` lists them all")
    takes = [_row(row, "Needed", row.required) for row in describe.parameters(action, actions.settings)]
    records = [action.response, *nested_records(action.response)]
    answers = {kind.__name__: [_row(row, "Always", row.always) for row in describe.field_texts(kind)] for kind in records}
    if as_json:
        print_json(
            {"Action": name, "Summary": action.summary, "Who": describe.required_role(action)}
            | {"Takes": takes, "Answers": answers}
        )
        return
    click.echo(f"{name}: {' '.join(action.summary.split())}")
    click.echo(f"Who may call it: {describe.required_role(action)}." + (" It changes the catalogue." if action.changes else ""))
    click.echo("\nIt takes")
    _print_rows(takes, empty="no parameters")
    for position, (kind, rows) in enumerate(answers.items()):
        click.echo(f"\n{kind}" if position else "\nIt answers")
        _print_rows(rows, empty="nothing but RetCode and Action")


def _row(row: FieldText, word: str, value: bool) -> dict[str, Any]:
    return {"Name": row.name, "Type": row.type_name, word: value, "Limits": row.limits, "Description": row.description}


def _print_rows(rows: list[dict[str, Any]], *, empty: str) -> None:
    columns = [name.upper() for name in rows[0]] if rows else []
    print_table(columns, ([{True: "yes", False: ""}.get(value, value) for value in row.values()] for row in rows), empty=empty)
