"""The reference pages of `docs/reference`, generated from the code. `python -m phimage.reference` writes them.

Every description has one source: the type, the error class or the command.
"""

from __future__ import annotations

import json

from phimage import __version__
from phimage.actions import described
from phimage.gateway.openapi import document
from phimage.reference.actions import actions_page, roles_page
from phimage.reference.commands import commands_page
from phimage.reference.records import catalog_page, errors_page, settings_page

MADE = "<!-- Made from the code by `make docs`: change the code, not this page. -->\n\n"

INDEX = """\
# Reference

Generated from the code by `make docs`; a test compares the two.

- [Actions](actions.md): every Action with its parameters and its response
- [Roles](roles.md): which role may call which Action
- [Errors](errors.md): every RetCode
- [Settings](settings.md): every setting of an installation
- [Commands](cli.md): the command line, its options and exit codes
- [Catalogue file](catalog-file.md): the YAML of the catalogue as code
- [openapi.json](openapi.json): OpenAPI 3.1, as every server returns it at `/openapi.json`
"""


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    actions = described()
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
