"""The reference pages are what the code says now, and the code says something about everything."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from msgspec import Struct

from phimage.actions import registry
from phimage.actions.service import DEFAULTS
from phimage.catalog.views import Catalog
from phimage.catalog_file.document import Document
from phimage.catalog_file.plan import plan
from phimage.errors import REQUEST_ERRORS, RequestError
from phimage.fields import fields_of, nested_records
from phimage.gateway.describe import field_texts, parameters
from phimage.gateway.registry import AnyAction
from phimage.model.ids import Revision
from phimage.reference import pages
from phimage.reference.commands import options, walk
from phimage.settings import Settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
ANEW = "write the pages anew with `make docs`"

ACTIONS = list(registry())
ANSWERS = list(dict.fromkeys(record for action in ACTIONS for record in (action.response, *nested_records(action.response))))
COMMANDS = list(walk())


@pytest.fixture
def dialect() -> str:
    """What a file says does not depend on the database."""
    return "sqlite"


@pytest.mark.parametrize(("name", "text"), pages().items(), ids=list(pages()))
def test_a_page_is_what_the_code_says_now(name: str, text: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == text, ANEW


def test_there_is_no_other_page() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(pages()), ANEW


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_an_action_and_its_parameters_are_described(action: AnyAction) -> None:
    assert action.summary
    assert [row.name for row in parameters(action, DEFAULTS) if not row.description] == []


@pytest.mark.parametrize("record", ANSWERS, ids=lambda record: record.__name__)
def test_an_answer_and_its_fields_are_described(record: type[Struct]) -> None:
    assert record.__doc__
    assert [row.name for row in field_texts(record) if not row.description] == []


@pytest.mark.parametrize("record", [Settings, Document, *nested_records(Document)], ids=lambda record: record.__name__)
def test_a_setting_and_a_field_of_the_catalogue_file_are_described(record: type[Struct]) -> None:
    assert record.__doc__
    assert [row.name for row in field_texts(record) if not row.description] == []


def test_the_reference_describes_the_settings_of_a_new_installation() -> None:
    fields = [field.attribute for field in fields_of(type(DEFAULTS))]

    assert [getattr(DEFAULTS, name) for name in fields] == [getattr(Settings(), name) for name in fields]


def test_limit_is_described_with_its_default_and_its_range() -> None:
    action = registry().get("DescribePHostImage")
    assert action is not None
    limit = next(field for field in parameters(action, DEFAULTS) if field.name == "Limit")

    assert (limit.default, limit.limits) == ("20", "0 to 1000")


def test_an_error_is_described_and_registered() -> None:
    assert [error.__name__ for error in REQUEST_ERRORS if not (error.meaning and error.form)] == []
    assert set(REQUEST_ERRORS) == set(RequestError.__subclasses__())
    assert len({error.ret_code for error in REQUEST_ERRORS}) == len(REQUEST_ERRORS)
    assert all(error.ret_code < 2000 for error in REQUEST_ERRORS)


@pytest.mark.parametrize("ctx", COMMANDS, ids=lambda ctx: ctx.command_path)
def test_a_command_and_its_options_are_described(ctx: click.Context) -> None:
    assert ctx.command.help
    assert ctx.command.get_short_help_str()
    assert [option.name for option in options(ctx) if not option.help] == []


@pytest.mark.parametrize("ctx", COMMANDS, ids=lambda ctx: ctx.command_path)
def test_a_short_help_fits_the_list_of_commands(ctx: click.Context) -> None:
    assert not ctx.command.get_short_help_str(100).endswith("...")


def test_every_thing_is_on_its_page() -> None:
    actions, errors = (FOLDER / "actions.md").read_text("utf-8"), (FOLDER / "errors.md").read_text("utf-8")
    for action in ACTIONS:
        section = actions.partition(f"\n## {action.name}\n")[2].partition("\n## ")[0]
        assert [row.name for row in parameters(action, DEFAULTS) if f"| `{row.name}` |" not in section] == []
    assert [error.ret_code for error in REQUEST_ERRORS if f"| {error.ret_code} |" not in errors] == []
    settings, commands = (FOLDER / "settings.md").read_text("utf-8"), (FOLDER / "cli.md").read_text("utf-8")
    names = [field.name for field in field_texts(Settings)]
    assert [name for name in names if f"| `{name}` | `PHIMAGE_{name.upper()}` |" not in settings] == []
    assert [ctx.command_path for ctx in COMMANDS if f"\n## {ctx.command_path}\n" not in commands] == []


def test_the_example_of_a_catalogue_file_is_a_good_one(catalog: Catalog) -> None:
    found = re.search(r"```yaml\n(.*?)```", (FOLDER / "catalog-file.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    with catalog.database.read() as connection:
        made = plan(connection, Revision(0), found[1], prune=False)

    assert made.errors == ()
    assert {difference.noun for difference in made.differences} >= {"cluster", "region", "zone", "machine_type", "image"}
