"""`phimage ci`: the endpoint for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from phimage.cli.output import Command, echo


def _with_endpoint_options(command: Command) -> Command:
    for option in reversed(
        (
            click.option(
                "--seed",
                "seeds",
                multiple=True,
                metavar="FILE",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Seed that every world starts with, over the demonstration; may be repeated.",
            ),
            click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
            click.option("--beyond-loopback", is_flag=True, help="Allow an address that other machines reach."),
            click.option(
                "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port; 0 takes any free one."
            ),
            click.option(
                "--ready-file",
                metavar="FILE",
                type=click.Path(path_type=Path, dir_okay=False),
                help="File to write once requests are answered: the variables for clients, one a line.",
            ),
            click.option(
                "--random-seed", metavar="TEXT", default="0", show_default=True, help="Text from which all new ids are made."
            ),
            click.option("--while-pid", type=click.IntRange(1), metavar="PID", help="Process with which the endpoint ends."),
        )
    ):
        command = option(command)
    return command


@click.group(short_help="Start an endpoint for tests, with a world for each.", invoke_without_command=True)
@_with_endpoint_options
@click.pass_context
def ci(ctx: click.Context, /, **flags: Any) -> None:
    """Start an endpoint for tests: signatures and roles as in production, faults on demand, nothing on disk.

    Each path /w/NAME/ is a world of its own, made at first use, with its own catalogue, clock, faults and journal.

    \b
    Examples:
      phimage ci --port 8080
      phimage ci --seed seed.yaml --ready-file ready.env
      phimage ci exec -- pytest
    """
    if ctx.invoked_subcommand is not None:
        given = [name for name in flags if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError("Options of the endpoint go after `exec`, before the command.", ctx)
        return
    from phimage.ci.serve import EndpointOptions, serve

    serve(EndpointOptions(**flags), _show)


@ci.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_with_endpoint_options
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND [ARGUMENT]...")
def exec_(command: tuple[str, ...], **flags: Any) -> int:
    """Run a command beside such an endpoint, and end with its exit code.

    The command has PHIMAGE_ENDPOINT, PHIMAGE_PUBLIC_KEY, PHIMAGE_PRIVATE_KEY, PHIMAGE_REGION, PHIMAGE_ZONE and PHIMAGE_PROJECT.

    \b
    Examples:
      phimage ci exec -- phimage image ls
      phimage ci exec --seed seed.yaml -- go test ./...
    """
    from phimage.ci.serve import EndpointOptions, run_command

    return run_command(EndpointOptions(**flags), command)


def _show(url: str, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        echo(f"export {name}={value}")
    echo(f"listening on {url}")
