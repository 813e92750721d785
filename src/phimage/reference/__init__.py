"""The reference pages of `docs/reference`, made from the code that they describe. `python -m phimage.reference` writes them.

Nothing is said twice: what a page tells about a parameter, an answer, a setting, an error or a command is what the type, the
error class or the command says itself.
"""

from __future__ import annotations

import json

from phimage import __version__
from phimage.actions import registry
from phimage.gateway.openapi import document
from phimage.reference.actions import actions_page, roles_page
from phimage.reference.commands import commands_page
from phimage.reference.records import catalog_page, errors_page, settings_page

MADE = "<!-- Made from the code by `make docs`: change the code, not this page. -->\n\n"

INDEX = """\
# Reference

Made from the code by `make docs`; a test holds it against the code.

- [Actions](actions.md): every Action, what it takes and answers
- [Roles](roles.md): which role may call which Action
- [Errors](errors.md): every RetCode
- [Settings](settings.md): what a server can be told
- [Commands](cli.md): the command line, its options and exit codes
- [Catalogue file](catalog-file.md): the YAML of the catalogue as code
- [openapi.json](openapi.json): OpenAPI 3.1, as every server answers it at `/openapi.json`
"""


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    actions = registry()
    made = {
        "README.md": INDEX,
        "actions.md": actions_page(actions),
        "roles.md": roles_page(actions),
        "errors.md": errors_page(),
        "settings.md": settings_page(),
        "cli.md": commands_page(),
        "catalog-file.md": catalog_page(),
    }
    openapi = json.dumps(json.loads(document(actions, __version__)), ensure_ascii=False, indent=1) + "\n"
    return {name: MADE + text for name, text in made.items()} | {"openapi.json": openapi}
