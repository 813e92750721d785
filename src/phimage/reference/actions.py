"""The pages about Actions: what they take and answer, and who may call them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.fields import nested_records
from phimage.gateway.describe import FieldText, field_texts, first_sentence, parameters, required_role
from phimage.gateway.registry import SMALL_BODY, AnyAction, AnyRegistry
from phimage.model.account import Right
from phimage.reference.markdown import code, limits, link, prose, table, title, type_of

ACTIONS = f"""\
# Actions

Every Action is called the same way: its parameters as a form, a query or JSON, to any path of the server,
signed. Three parameters belong to every request: `Action`, `PublicKey` and `Signature`. Elements of a list are
`Name.0`, `Name.1`, ..., or in JSON an array. Blank is the same as absent. A request has at most {SMALL_BODY}
bytes where nothing else is said.

An answer has HTTP status 200, `RetCode`, `Action` and what its table says; [errors](errors.md) have `RetCode`
and `Message`. The header `X-UCLOUD-REQUEST-UUID` is the id of the request, `X-Phimage-Revision` the revision of
the catalogue that the answer reflects, `X-Phimage-Newer` names newer versions that a pinned path hides.
`phimage api` calls any Action. Who may call what: [roles](roles.md).

"""

ROLES = """\
# Roles

Which role may call which Action. A test reads this table and tries every cell.

| Role | Who has it |
|---|---|
| any key | a sub-user with a key that is not a member of the project |
| viewer | a sub-user that is a viewer of the project it names |
| editor | a sub-user that is an editor of the project it names: it may also change custom images |
| main user | the main user of an account: it sees all projects of the account, and may leave ProjectId out |
| operator account | the main user of an account that runs the cloud |

Actions about a project take ProjectId: a sub-user must name it, a main user who leaves it out means the default
project. A project of another account is as unknown as one that never was (292). What the role does not allow is
refused with 299. A sub-user of an account that runs the cloud may call what only such an account may, and needs
the roles above for what projects own. An account can also be limited to zones (293) and to networks (294); that
is the same for all of its roles.

"""

COLUMNS = ("any key", "viewer", "editor", "main user", "operator account")
"""The roles of the table, weakest first."""

YES, NO = "yes", "no"


def actions_page(registry: AnyRegistry) -> str:
    """Every Action with its parameters and its answer, then the records that answers are made of."""
    actions = list(registry)
    overview = table(
        ("Action", "Who may call it", "Changes", "What it is for"),
        ((link(a.name), required_role(a), YES if a.changes else "", first_sentence(a.summary)) for a in actions),
    )
    records = dict.fromkeys(record for action in actions for record in nested_records(action.response))
    parts = [
        ACTIONS + overview,
        *(_action(action, registry.settings) for action in actions),
        "## Records\n\nWhat answers are made of.\n",
    ]
    parts += [f"### {title(record)}\n\n{prose(record)}\n\n{_answer(record)}" for record in sorted(records, key=title)]
    return "\n".join(parts)


def roles_page(registry: AnyRegistry) -> str:
    """The table of roles and Actions."""
    return ROLES + table(
        ("Action", *COLUMNS),
        ((f"[{a.name}](actions.md#{a.name.lower()})", *(YES if may(c, a) else NO for c in COLUMNS)) for a in registry),
    )


def may(role: str, action: AnyAction) -> bool:
    """Whether a role may call an Action."""
    if action.right is Right.OPERATE:
        return role == "operator account"
    minimum = {Right.READ: "viewer", Right.CHANGE: "editor"}.get(action.right, "any key") if action.project else "any key"
    return COLUMNS.index(role) >= COLUMNS.index(minimum)


def _action(action: AnyAction, settings: Struct) -> str:
    facts = [f"Who may call it: {required_role(action)}."]
    if action.changes:
        facts.append("It changes the catalogue, so a pinned path refuses it.")
    if action.max_body != SMALL_BODY:
        facts.append(
            f"A request has at most {action.max_body} bytes; above {SMALL_BODY} its URL needs `?Action={action.name}`."
        )
    return (
        f"## {action.name}\n\n{prose(action.request)}\n\n{' '.join(facts)}\n\n"
        f"Parameters:\n\n{_parameters(parameters(action, settings))}\n"
        f"Answer: {prose(action.response)}\n\n{_answer(action.response)}"
    )


def _parameters(rows: Iterable[FieldText]) -> str:
    return table(
        ("Name", "Type", "Required", "Default", "Limits", "What it is"),
        ((code(r.name), type_of(r), YES if r.required else "", code(r.default), limits(r), r.description) for r in rows),
        empty="None of its own.",
    )


def _answer(record: type[Struct]) -> str:
    return table(
        ("Name", "Type", "Always there", "What it is"),
        ((code(row.name), type_of(row), YES if row.always else NO, row.description) for row in field_texts(record)),
        empty="Nothing but `RetCode` and `Action`.",
    )
