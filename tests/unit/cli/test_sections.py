"""Help texts list commands by audience."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from phimage.cli import SECTIONS, phimage
from phimage.cli import image as image_commands
from phimage.cli.sections import ON_THE_MACHINE, OPERATORS, TENANTS_AND_OPERATORS, Sections


def listed(text: str) -> dict[str, list[str]]:
    """The commands under each heading of a help text."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if heading := re.fullmatch(r"(\S.*):", line):
            commands = found.setdefault(heading[1], [])
        elif (command := re.match(r"  ([a-z][a-z-]*)  ", line)) and found:
            commands.append(command[1])
    return {title: commands for title, commands in found.items() if commands}


@pytest.mark.parametrize(("arguments", "sections"), [([], SECTIONS), (["image"], image_commands.SECTIONS)])
def test_help_lists_every_command_under_its_audience(arguments: list[str], sections: Sections) -> None:
    result = CliRunner().invoke(phimage, [*arguments, "--help"])

    assert listed(result.output) == {title: list(commands) for title, commands in sections.items()}


def test_the_sections_are_those_of_the_two_audiences() -> None:
    assert list(SECTIONS) == [TENANTS_AND_OPERATORS, OPERATORS, ON_THE_MACHINE]


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(phimage, ["images"])

    assert (result.exit_code, "No such command 'images'" in result.output) == (2, True)
