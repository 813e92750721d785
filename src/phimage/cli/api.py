"""`phimage api`: any Action, with its parameters as they are sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phimage.cli.output import echo, json_option, note, print_json, print_table
from phimage.cli.profile import Connect, connecting
from phimage.errors import ClientError, Refused, UnknownAction

if TYPE_CHECKING:
    from phimage.gateway.describe import FieldText

ADDED = ("Action", "PublicKey", "Signature")
"""Parameters of the Action's name and of signatures."""


@click.command(short_help="Call any Action, or list all of them.")
@click.argument("action", required=False)
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--rev", type=click.IntRange(0), metavar="N", help="Use the catalogue at revision N.")
@click.option("--describe", is_flag=True, help="Print the parameters and the response of the Action, without calling it.")
@json_option
@connecting
def api(
    connect: Connect, action: str | None, parameters: tuple[str, ...], rev: int | None, describe: bool, as_json: bool
) -> None:
    """Call an Action with a signed request and print the response as JSON: indented on a terminal or with --json, otherwise
    on one line.

    Parameters are sent as written. The profile supplies the address and the key, but never a Region, Zone or ProjectId.
    Elements of a list are Name.0=a Name.1=b. NAME=@FILE reads the value from a file, NAME=@- from standard input, and
    NAME=@@text is a value that begins with @.

    Exits 1 when the RetCode is not 0; the response is printed in any case. Without ACTION, lists all Actions.

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
        params = _parse(parameters)
        with connect() as session:
            client = session.client if rev is None else session.client.at(rev)
            try:
                response, code = client.call(action, **params).fields, 0
            except Refused as refused:
                response, code = refused.answer, 1
                if refused.ret_code == UnknownAction.ret_code:
                    note(f"there is no Action {action}; `phimage api` lists them all")
        if as_json or sys.stdout.isatty():
            print_json(response)
        else:
            print_json(response, indented=False)
        sys.exit(code)


def _parse(parameters: tuple[str, ...]) -> dict[str, str]:
    params: dict[str, str] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.UsageError(f"{text!r} is not NAME=VALUE")
        if name in ADDED:
            raise click.UsageError(f"leave {name} out: the command names the Action and signs by itself")
        if name in params:
            raise click.UsageError(f"{name} is given twice; elements of a list are {name}.0, {name}.1, ...")
        params[name] = _value(value)
    return params


def _value(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    name = text[1:]
    try:
        return sys.stdin.buffer.read().decode() if name == "-" else Path(name).read_bytes().decode()
    except OSError as error:
        raise ClientError(
            f"{name or 'the file with the empty name'} cannot be read: {error.strerror}; check the path and its permissions"
        ) from None
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
                    "Action": one.name,
                    "Summary": first_sentence(one.summary),
                    "Who": required_role(one),
                    "Changes": one.changes,
                }
                for one in actions
            ]
        )
        return
    print_table(
        ("ACTION", "WHO MAY CALL IT", "PURPOSE"),
        ((one.name, required_role(one), first_sentence(one.summary)) for one in actions),
    )


def _describe(name: str, *, as_json: bool) -> None:
    from phimage.actions import registry
    from phimage.fields import nested_records
    from phimage.gateway import describe

    actions = registry()
    action = actions.get(name)
    if action is None:
        raise ClientError(f"there is no Action {name}; `phimage api` lists them all")
    params = [_row(row, "Required", row.required) for row in describe.parameters(action, actions.settings)]
    records = [action.response, *nested_records(action.response)]
    responses = {kind.__name__: [_row(row, "Always", row.always) for row in describe.field_texts(kind)] for kind in records}
    if as_json:
        print_json(
            {"Action": name, "Summary": action.summary, "Who": describe.required_role(action)}
            | {"Parameters": params, "Response": responses}
        )
        return
    echo(f"{name}: {' '.join(action.summary.split())}")
    echo(f"Who may call it: {describe.required_role(action)}." + (" It changes the catalogue." if action.changes else ""))
    echo("\nParameters")
    _print_rows(params, empty="none")
    for position, (kind, rows) in enumerate(responses.items()):
        echo(f"\n{kind}" if position else "\nResponse")
        _print_rows(rows, empty="only RetCode and Action")


def _row(row: FieldText, word: str, value: bool) -> dict[str, Any]:
    return {"Name": row.name, "Type": row.type_name, word: value, "Limits": row.limits, "Description": row.description}


def _print_rows(rows: list[dict[str, Any]], *, empty: str) -> None:
    columns = [name.upper() for name in rows[0]] if rows else []
    print_table(columns, ([{True: "yes", False: ""}.get(value, value) for value in row.values()] for row in rows), empty=empty)
