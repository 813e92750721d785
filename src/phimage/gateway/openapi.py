"""OpenAPI 3.1 of the gateway, made from the types that requests are read into and answers are written from.

UCloud's protocol has one address for all Actions. So that generic tools can read it, each Action has a path of its own here:
any path is a base path of the gateway, so what is sent to `/DescribePHostImage` with that Action is answered there.
"""

from __future__ import annotations

import json

from phimage.gateway.decode import MAX_ELEMENTS
from phimage.gateway.describe import WHO, first_sentence, who
from phimage.gateway.registry import SMALL_BODY, Action, Registry, View
from phimage.gateway.schemas import FAILURE, REF, Schema, components, form, without

FORM = "application/x-www-form-urlencoded"

ABOUT = f"""\
The image service of a physical cloud, in the UCloud API protocol. \
Each path is an alias: every Action is answered on every path, so clients of that protocol use the address of the server alone.

**Signature.** Sort the parameters by name, write each name and value one after the other without separators, append the
private key; the SHA-1 of that, in lower-case hexadecimal digits, is `Signature`. `PublicKey` names the key.

**Lists.** In a form or a query the elements of a list are `Name.0`, `Name.1`, ...; in JSON they may also be an array.
A list has at most {MAX_ELEMENTS} elements. Blank and null are the same as absent. Unknown parameters are signed and ignored.

**Answers.** Every answer of GET and POST has HTTP status 200; `RetCode` says whether it went well.

**Pins.** Before any path, `/rev/<number>` or `/at/<RFC 3339 time>` answers from the catalogue of then, and `/limit/<number>`
sets the Limit of lists that name none.
"""

HEADERS: dict[str, Schema] = {
    "X-UCLOUD-REQUEST-UUID": {
        "description": "Id of the request, as logs have it.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "X-Phimage-Revision": {
        "description": "Revision of the catalogue that the answer reflects. Absent when the request did not come that far.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Phimage-Newer": {
        "description": "On a pinned path: newer versions of listed families that the pin hides, as `family=id, ...`.",
        "schema": {"type": "string"},
    },
}


def document(registry: Registry[View], version: str) -> bytes:
    """The document, as JSON. It names no server: its paths hold wherever it was read from."""
    actions = list(registry)
    roles = [WHO[right] for right in sorted({action.right for action in actions})]
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "phimage",
            "version": version,
            "summary": "The image service of a physical cloud.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": role, "description": f"Actions whose least role is: {role}."} for role in roles],
        "paths": {f"/{action.name}": _path(action) for action in actions},
        "components": {
            "schemas": components(actions),
            "headers": HEADERS,
            "responses": {"OtherMethod": _other_method()},
        },
    }
    return json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()


def _path(action: Action[View]) -> Schema:
    fields = form(action)
    query = [_in_query(name, given, required=name in fields["required"]) for name, given in fields["properties"].items()]
    body = {
        "required": True,
        "content": {
            FORM: {"schema": {"$ref": f"{REF}{action.name}Form"}},
            "application/json": {"schema": {"$ref": f"{REF}{action.name}"}},
        },
    }
    return {
        "post": {"operationId": action.name, **_operation(action), "requestBody": body},
        "get": {"operationId": f"{action.name}ByQuery", **_operation(action), "parameters": query},
    }


def _in_query(name: str, schema: Schema, *, required: bool) -> Schema:
    own = without(schema, "description")
    return {"name": name, "in": "query", "required": required, "description": schema["description"], "schema": own}


def _operation(action: Action[View]) -> Schema:
    told = [" ".join(action.summary.split()), f"Who may call it: {who(action)}."]
    if action.changes:
        told.append("It changes the catalogue, so it is refused on a pinned path.")
    if action.max_body > SMALL_BODY:
        told.append(f"A body of more than {SMALL_BODY} bytes needs `?Action={action.name}` in the query, too.")
    good = {
        "description": "The answer: what was asked for, or an error.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS},
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"$ref": f"{REF}{action.name}Response"}, {"$ref": f"{REF}{FAILURE}"}]},
            },
        },
    }
    return {
        "summary": first_sentence(action.summary),
        "description": "\n\n".join(told),
        "tags": [who(action)],
        "responses": {"200": good, "405": {"$ref": "#/components/responses/OtherMethod"}},
    }


def _other_method() -> Schema:
    allow = {"description": "GET, POST", "required": True, "schema": {"type": "string", "const": "GET, POST"}}
    return {
        "description": "Any method other than GET and POST.",
        "headers": {"Allow": allow, "X-UCLOUD-REQUEST-UUID": {"$ref": "#/components/headers/X-UCLOUD-REQUEST-UUID"}},
        "content": {"application/json": {"schema": {"$ref": f"{REF}{FAILURE}"}}},
    }
