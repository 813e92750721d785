"""Questions to the person at the terminal. Without a terminal a command fails at once and names the option that answers."""

from __future__ import annotations

import sys

import click

from phimage.cli.output import printable
from phimage.errors import ClientError


class NoTerminal(ClientError):
    """A command must ask, and there is no terminal."""

    # docs/decisions.md#usage-errors-exit-with-64
    exit_code = 64


class Declined(ClientError):
    """The answer to a question was no."""


def at_terminal() -> bool:
    """Whether a person can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, otherwise: str) -> None:
    """Ask a question. Raises Declined if the answer is no, and NoTerminal with the remedy `otherwise`."""
    if not at_terminal():
        raise NoTerminal(f"{printable(question)} There is no terminal to answer: {otherwise}")
    if not click.confirm(printable(question), err=True):
        raise Declined("nothing was changed")


def ask_secret(question: str, otherwise: str, *, twice: bool = False) -> str:
    """Ask for a secret, which is not shown. `twice`: ask again and compare. Raises NoTerminal with the remedy `otherwise`."""
    if not at_terminal():
        raise NoTerminal(f"there is no terminal to ask for the {question}: {otherwise}")
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=twice, err=True)
    return answer
