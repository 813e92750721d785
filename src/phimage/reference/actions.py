"""The pages about Actions and roles."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.fields import nested_records
from phimage.gateway.describe import FieldText, field_texts, first_sentence, parameters, required_role
from phimage.gateway.registry import SMALL_BODY, AnyAction, AnyRegistry, Credential
from phimage.model.account import Right
from phimage.reference.markdown import code, limits, link, prose, table, title, type_of

ACTIONS = f"""\
# Actions

A request sends the parameters of an Action, signed, as a form, a query or JSON, to any path of the server.
Every request has the parameter `Action`, and `PublicKey` and `Signature` or a signature of version 2 in its header
(the [wire protocol](../wire-protocol.md), 2). The elements of a list are `Name.0`, `Name.1`, ..., or an array in JSON.
Blank means absent. A request has at most {SMALL_BODY} bytes unless its Action has another limit, which needs a
signature of version 2.

A response has HTTP status 200, `RetCode`, `Action` and the fields of its table; [errors](errors.md) have `RetCode`
and `Message`. The header `X-UCLOUD-REQUEST-UUID` is the id of the request, `X-Phimage-Revision` the revision of
the catalogue that the response reflects, and `X-Phimage-Newer` lists newer versions that a pinned path hides.
`phimage api` calls any Action. The required roles are in [roles](roles.md).

Defaults and limits that a setting can change are those of a new installation: `default_limit` and `max_limit` for
`Limit`, `require_zone` for `Zone`.

"""

ROLES = """\
# Roles

The Actions that each role may call. A test tries every cell of the table.

| Role | Users with the role |
|---|---|
| any key | a sub-user with a key that is not a member of the project |
| viewer | a sub-user that is a viewer of the project in ProjectId |
| editor | a sub-user that is an editor of the project in ProjectId: it may also change custom images |
| main user | the main user of an account: it may see and change every project of the account |
| operator account | the main user of an operator account |
| agent | the agent of a host: with the host's key, or for AgentEnroll with an enrol token |

Actions about a project take ProjectId. It is required for a sub-user; for a main user, the default is the default
project. A project of another account is unknown (292). An Action that the role does not allow fails with 299. A
sub-user of an operator account may call the Actions of operator accounts, and needs the roles above for Actions
about projects, but for those that publish, show, download and change one image, and those about jobs: operator accounts
call them for every project. An account can also be limited to zones (293) and to networks (294), for all of its roles.

An Action with signature 2 needs a signature of version 2 (HTTP Message Signatures, RFC 9421), which phimage's commands
make; others accept version 1 too, which the clients of UCloud make. The setting `allow_legacy_operator_signatures`
allows version 1 for all.

"""

PEOPLE = ("any key", "viewer", "editor", "main user", "operator account")
"""The roles of people and programs, weakest first."""
COLUMNS = (*PEOPLE, "agent")
"""The roles of the table."""

YES, NO = "yes", "no"


def actions_page(registry: AnyRegistry) -> str:
    """Every Action with its parameters and its response, then the records in responses."""
    actions = list(registry)
    overview = table(
        ("Action", "Required role", "Changes the catalogue", "Purpose"),
        ((link(a.name), required_role(a), YES if a.changes else "", first_sentence(a.summary)) for a in actions),
    )
    records = dict.fromkeys(record for action in actions for record in nested_records(action.response))
    parts = [
        ACTIONS + overview,
        *(_action(action, registry.settings) for action in actions),
        "## Records\n\nWhat answers are made of.\n",
    ]
    parts += [f"### {title(record)}\n\n{prose(record)}\n\n{_response(record)}" for record in sorted(records, key=title)]
    return "\n".join(parts)


def roles_page(registry: AnyRegistry) -> str:
    """The table of roles and Actions."""
    return ROLES + table(
        ("Action", *COLUMNS, "signature"),
        (
            (
                f"[{a.name}](actions.md#{a.name.lower()})",
                *(YES if may(c, a) else NO for c in COLUMNS),
                "2" if a.needs_version_2 else "1 or 2",
            )
            for a in registry
        ),
    )


def may(role: str, action: AnyAction) -> bool:
    """Whether a role may call an Action."""
    if role == "agent" or action.credential is not Credential.KEY:
        return role == "agent" and action.credential is not Credential.KEY
    if action.right is Right.OPERATE:
        return role == "operator account"
    minimum = {Right.READ: "viewer", Right.CHANGE: "editor"}.get(action.right, "any key") if action.project else "any key"
    return PEOPLE.index(role) >= PEOPLE.index(minimum)


def _action(action: AnyAction, settings: Struct) -> str:
    notes = [f"Required role: {required_role(action)}."]
    if action.changes:
        notes.append("It changes the catalogue, so a pinned path refuses it.")
    if action.needs_version_2:
        notes.append("It needs a signature of version 2.")
    if action.max_body != SMALL_BODY:
        notes.append(
            f"A request has at most {action.max_body} bytes; above {SMALL_BODY} its URL needs `?Action={action.name}`."
        )
    return (
        f"## {action.name}\n\n{prose(action.request)}\n\n{' '.join(notes)}\n\n"
        f"Parameters:\n\n{_parameters(parameters(action, settings))}\n"
        f"Response: {prose(action.response)}\n\n{_response(action.response)}"
    )


def _parameters(rows: Iterable[FieldText]) -> str:
    return table(
        ("Name", "Type", "Required", "Default", "Limits", "Description"),
        ((code(r.name), type_of(r), YES if r.required else "", code(r.default), limits(r), r.description) for r in rows),
        empty="None of its own.",
    )


def _response(record: type[Struct]) -> str:
    return table(
        ("Name", "Type", "Always present", "Description"),
        ((code(row.name), type_of(row), YES if row.always else NO, row.description) for row in field_texts(record)),
        empty="No fields of its own.",
    )
