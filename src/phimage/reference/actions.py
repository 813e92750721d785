"""The pages about Actions: parameters, responses and roles."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.gateway.describe import Row, first_sentence, nested, parameters, rows_of, who
from phimage.gateway.registry import SMALL_BODY, Action, Registry, View
from phimage.model.account import Right
from phimage.reference.markdown import code, kind, limits, link, prose, table, title

ACTIONS = f"""\
# Actions

All Actions are called in the same way: with signed parameters as a form, a query or JSON, at any path of the server.
Every request has three parameters more: `Action`, `PublicKey` and `Signature`. Elements of a list are `Name.0`,
`Name.1`, ..., or in JSON an array. A blank parameter is absent. A request has at most {SMALL_BODY} bytes unless its
section names another limit.

A response has HTTP status 200, `RetCode`, `Action` and the fields of its table; [errors](errors.md) have `RetCode`
and `Message`. The header `X-UCLOUD-REQUEST-UUID` is the id of the request, `X-Phimage-Revision` the revision of the
catalogue that the response reflects, and `X-Phimage-Newer` lists newer versions that a pinned path hides.
`phimage api` calls any Action. Who may call what: [roles](roles.md).

"""

ROLES = """\
# Roles

This page shows which role may call which Action. A test reads the table and tries every cell.

| Role | Who has it |
|---|---|
| any key | a sub-user with a key that is not a member of the project |
| viewer | a sub-user that is a viewer of the project of the request |
| editor | a sub-user that is an editor of that project, and may also change its custom images |
| main user | the main user of an account, which sees all its projects and may leave ProjectId out |
| operator account | the main user of an account that runs the cloud |

Actions about a project take ProjectId: a sub-user must give it; without it, a request of a main user is about the
default project. A project of another account is unknown (292), like one that does not exist. An Action that the role
does not allow is refused with 299. A sub-user of an operator account may call operator Actions, and needs the roles
above for Actions about projects. An account can also be limited to zones (293) and to networks (294), for all of its
roles.

"""

COLUMNS = ("any key", "viewer", "editor", "main user", "operator account")
"""The roles of the table, weakest first."""

YES, NO = "yes", "no"


def actions_page(registry: Registry[View]) -> str:
    """Every Action with its parameters and its answer, then the records that answers are made of."""
    actions = list(registry)
    overview = table(
        ("Action", "Who may call it", "Changes", "What it is for"),
        ((link(a.name), who(a), YES if a.changes else "", first_sentence(a.summary)) for a in actions),
    )
    records = dict.fromkeys(record for action in actions for record in nested(action.response))
    parts = [ACTIONS + overview, *map(_action, actions), "## Records\n\nWhat answers are made of.\n"]
    parts += [f"### {title(record)}\n\n{prose(record)}\n\n{_answer(record)}" for record in sorted(records, key=title)]
    return "\n".join(parts)


def roles_page(registry: Registry[View]) -> str:
    """The table of roles and Actions."""
    return ROLES + table(
        ("Action", *COLUMNS),
        ((f"[{a.name}](actions.md#{a.name.lower()})", *(YES if may(c, a) else NO for c in COLUMNS)) for a in registry),
    )


def may(role: str, action: Action[View]) -> bool:
    """Whether a role may call an Action."""
    if action.right is Right.OPERATE:
        return role == "operator account"
    minimum = {Right.READ: "viewer", Right.CHANGE: "editor"}.get(action.right, "any key") if action.project else "any key"
    return COLUMNS.index(role) >= COLUMNS.index(minimum)


def _action(action: Action[View]) -> str:
    facts = [f"Who may call it: {who(action)}."]
    if action.changes:
        facts.append("It changes the catalogue, so a pinned path refuses it.")
    if action.max_body != SMALL_BODY:
        facts.append(
            f"A request has at most {action.max_body} bytes; above {SMALL_BODY} its URL needs `?Action={action.name}`."
        )
    return (
        f"## {action.name}\n\n{prose(action.request)}\n\n{' '.join(facts)}\n\n"
        f"Parameters:\n\n{_parameters(parameters(action))}\n"
        f"Answer: {prose(action.response)}\n\n{_answer(action.response)}"
    )


def _parameters(rows: Iterable[Row]) -> str:
    return table(
        ("Name", "Type", "Required", "Default", "Limits", "What it is"),
        ((code(r.name), kind(r), YES if r.required else "", code(r.default), limits(r), r.description) for r in rows),
        empty="None of its own.",
    )


def _answer(record: type[Struct]) -> str:
    return table(
        ("Name", "Type", "Always there", "What it is"),
        ((code(row.name), kind(row), YES if row.always else NO, row.description) for row in rows_of(record)),
        empty="Nothing but `RetCode` and `Action`.",
    )
