"""The `phimage` command: one file per noun, thin over the signed client."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from phimage import __version__
from phimage.cli.exit_codes import run_to_exit_code
from phimage.cli.sections import ON_THE_MACHINE, OPERATORS, TENANTS_AND_OPERATORS, SectionedGroup
from phimage.processes.runtime import collect_rarely, exit_process

SECTIONS = {
    TENANTS_AND_OPERATORS: {
        "demo": "phimage.cli.demo:demo",
        "ci": "phimage.cli.ci:ci",
        "console": "phimage.cli.console:console",
        "image": "phimage.cli.image:image",
        "job": "phimage.cli.job:job",
        "host": "phimage.cli.host:host",
        "region": "phimage.cli.places:region",
        "zone": "phimage.cli.places:zone",
        "cluster": "phimage.cli.places:cluster",
        "machine-type": "phimage.cli.places:machine_type",
        "log": "phimage.cli.log:log",
        "api": "phimage.cli.api:api",
        "sign": "phimage.cli.sign:sign_",
        "config": "phimage.cli.config:config",
        "completion": "phimage.cli.completion:completion",
        "man": "phimage.cli.man:man",
        "info": "phimage.cli.completion:info",
    },
    OPERATORS: {
        "catalog": "phimage.cli.catalog:catalog",
        "account": "phimage.cli.account:account",
        "user": "phimage.cli.user:user",
        "project": "phimage.cli.project:project",
        "key": "phimage.cli.key:key",
        "quota": "phimage.cli.quota:quota",
        "agent": "phimage.cli.agent:agent",
    },
    ON_THE_MACHINE: {
        "serve": "phimage.cli.serve:serve",
        "publisher": "phimage.cli.serve:publisher",
        "store": "phimage.cli.store:store",
        "db": "phimage.cli.db:db",
        "backup": "phimage.cli.backup:backup",
    },
}


@click.command(
    cls=SectionedGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="phimage")
def phimage() -> None:
    """The image service of a bare metal cloud.

    \b
    Examples:
      phimage demo                       start a demonstration
      phimage serve                      start a server of your own
      phimage image ls --zone cn-bj2-02  list the images of a zone
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. `arguments` are those of the process by default."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def entry_point() -> NoReturn:
    """The `phimage` process."""
    collect_rarely()  # docs/decisions.md#pythons-garbage-collector-runs-rarely
    exit_process(_run(sys.argv[1:]))


def _run(arguments: Sequence[str]) -> int:
    return run_to_exit_code(lambda: phimage.main(list(arguments), prog_name="phimage", standalone_mode=False), arguments)
