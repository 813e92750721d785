"""The README, the how-to pages and the quickstart do what they say: their blocks are run as a reader would paste them.

A comment before a block says that it is run, and how:

    <!-- tried -->               in the page's own folder, where the page starts what it needs
    <!-- tried on: demo -->      beside a demonstration that all pages share and none changes
    <!-- tried on: serve -->     beside a server with the starter catalogue and the operator's profile, of this page alone
    <!-- tried: serves -->       it starts a server, which goes on until the page ends or starts another one
    <!-- tried: exits 2 -->      it ends with this code, else with 0

Of a workflow in YAML, the commands of its steps are run as its runner runs them, without its installations.

Blocks of one place share a folder, variables and shell functions, in their order. `http://127.0.0.1:8080` is replaced by
the address of the server, `PUBLIC_KEY` by the key that was shown last, and its private half answers what is asked for.
A `text` block right after is what it prints: its lines in this order, `…` for anything, others may come between.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml
from _pytest.mark import ParameterSet

from phimage.cli import phimage as command_line
from phimage.demo_steps import steps
from tests.e2e.process import COMMAND_SECONDS, Key, Phimage, Server
from tests.postgresql import PostgreSQL
from tests.uploading import port_of, reserved_port

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", DOCS / "quickstart.md", *sorted((DOCS / "how-to").glob("*.md"))]

FIRST = {"README", "python-sdk", "curl"}
"""The pages that `make test` tries; `make test-more` tries the others."""

ADDRESS = "http://127.0.0.1:8080"
DATABASE = "postgresql://phimage@db.example.com/phimage"
S3 = "weed mini "
S3_ADDRESS = "127.0.0.1:8333"
S3_PORTS = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
START = {"make demo": "phimage demo", ".venv/bin/phimage serve": "phimage serve"}
"""What starts a server in a copy of the source tree, and what does the same here."""

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_BACKGROUND = re.compile(r"[^&]&(?=\n)")
_TRIED = re.compile(r"<!-- tried(?: on: (?P<place>\w+))?(?:: (?:(?P<serves>serves)|exits (?P<code>\d+)))? -->\n *\Z")
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(
    r"""(?:^|[|&;(])[ \t]*(?:[A-Z_]+=\S* +)*phimage +([a-z](?:"[^"]*"|'[^']*'|[^|&;<>()`\n"'])*)""", re.MULTILINE
)


class Block(NamedTuple):
    """A fenced block that is run. `prints` are lines of the block after it."""

    line: int
    language: str
    text: str
    place: str
    serves: bool
    code: int
    prints: list[str]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found: list[Block] = []
    previous: re.Match[str] | None = None
    for block in _BLOCK.finditer(text):
        tried = _TRIED.search(text, 0, block.start("language") - 3)
        body = "".join(line.removeprefix(block["indent"]) for line in block["text"].splitlines(keepends=True))
        if tried:
            line = text.count("\n", 0, block.start()) + 1
            place, serves, code = tried["place"] or "", bool(tried["serves"]), int(tried["code"] or 0)
            found.append(Block(line, block["language"], body, place, serves, code, []))
        elif previous and block["language"] == "text" and not text[previous.end() : block.start()].strip():
            found[-1].prints.extend(body.splitlines())
        previous = block if tried else None
    assert len(found) == text.count("<!-- tried"), f"{page.name} has a block that is marked as tried and cannot be read"
    return found


class Place:
    """A folder with a shell whose variables and functions last, and a server once there is one."""

    def __init__(self, home: Path, url: str = ADDRESS, key: Key | None = None) -> None:
        self.phimage = Phimage(home, PHIMAGE_PUBLISHERS="1", PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8")
        self.url = url
        self.key = key
        self.database = ""
        self.s3_ports: dict[str, int] = {}
        self._reserved = ExitStack()
        self._background: list[int] = []  # process groups of shells that left something running
        self._server: Server | None = None
        self._state = home / ".state"
        self._state.write_text("")

    def run(self, block: Block) -> None:
        text = self._as_read(block.text)
        if block.language == "yaml":
            text = commands_of(text)
        if block.serves:
            printed, code = self._serve(text.strip()), 0
        elif block.language == "python":
            printed, code = self._end([sys.executable, "-c", text])
        else:
            state = shlex.quote(str(self._state))
            keep = f"trap 'code=$?; {{ export -p; declare -f; }} > {state}; exit $code' EXIT"
            printed, code = self._end(["bash", "-c", f"set -a -o pipefail\n. {state}\n{keep}\nset -e\n{text}"])
        self._remember(printed)
        assert code == block.code, printed
        assert "Traceback" not in printed, printed
        for line, pattern in zip(block.prints, _patterns(block.prints, self._as_read), strict=True):
            match = pattern.search(printed)
            assert match, f"{line!r} is not in what is left of it:\n{printed}"
            printed = printed[match.end() :]

    def serve_s3(self) -> None:
        """Choose ports for an S3 server of the page."""
        names = [*S3_PORTS, *(f"{name}.grpc" for name in S3_PORTS)]
        self.s3_ports = {name: port_of(self._reserved.enter_context(reserved_port())) for name in names}

    def close(self) -> None:
        self._stop_server()
        for group in self._background:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
        self._background.clear()
        self._reserved.close()

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _as_read(self, text: str) -> str:
        text = text.replace(ADDRESS, self.url).replace(DATABASE, self.database)
        if self.s3_ports:  # a page has the usual ones, which somebody may use here
            text = text.replace(S3, S3 + "".join(f"-{name}={port} " for name, port in self.s3_ports.items()))
            text = text.replace(S3_ADDRESS, f"127.0.0.1:{self.s3_ports['s3.port']}")
        if self.key is not None:
            text = re.sub(r"\bPUBLIC_KEY\b", self.key.public, text)
            text = re.sub(r"\bPRIVATE_KEY\b", self.key.private, text)
        return text

    def _serve(self, text: str) -> str:
        self._stop_server()
        words = shlex.split(START.get(text, text))
        variables = dict(word.split("=", 1) for word in words[: words.index("phimage")])
        home = Phimage(self.phimage.home, **{"PHIMAGE_PUBLISHERS": "1", **variables})
        self._server = Server(home, *words[words.index("phimage") + 1 :], "--port", "0")
        printed = self._server.output
        self.url = self._server.url
        return printed

    def _end(self, command: list[str]) -> tuple[str, int]:
        running = subprocess.Popen(
            command,
            env=self.phimage.environment,
            cwd=self.phimage.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # without a terminal, so what is asked for is read from here
        )
        if _BACKGROUND.search(command[-1]):
            self._background.append(running.pid)
        try:
            printed, _ = running.communicate(f"{self.key.private}\n" if self.key else "", COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            raise
        return printed, running.returncode

    def _remember(self, printed: str) -> None:
        found = re.findall(r"^ *public key +(\S+)\n *private key +(\S+)$", printed, re.MULTILINE)
        if found:
            self.key = Key(*found[-1])


def commands_of(workflow: str) -> str:
    """The commands of a workflow of GitHub, whose steps are shells of their own, or of GitLab. They install nothing."""
    jobs = yaml.safe_load(workflow)
    steps = [step["run"] for job in jobs.get("jobs", {}).values() for step in job["steps"] if "run" in step]
    scripts = ["\n".join(job["script"]) for job in jobs.values() if isinstance(job, dict) and "script" in job]
    assert steps or scripts, "the workflow has no commands"
    shells = [f"bash -e <<'STEP'\nset -a; . \"$GITHUB_ENV\"\n{each}\nSTEP" for each in steps] + scripts
    return "\n".join(
        ['pip() { test "$1" = install; }; export -f pip; export GITHUB_ENV=$PWD/github.env; : > github.env', *shells]
    )


def _patterns(lines: list[str], as_read: Callable[[str], str]) -> Iterator[re.Pattern[str]]:
    for line in lines:
        parts = [r"\s+".join(map(re.escape, as_read(part).split())) for part in line.split("…")]
        yield re.compile(r"[^\n]*?".join(parts))


@pytest.fixture(scope="session")
def shared_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(Phimage(tmp_path_factory.mktemp("demo")), "demo", "--port", "0") as server:
        yield server


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to copy: an installation with the starter catalogue, and the operator's profile for it."""
    place = Place(tmp_path_factory.mktemp("installed"))
    page = DOCS / "quickstart.md"
    start, keep, load = (
        next(block for block in blocks_of(page) if word in block.text)
        for word in ("phimage serve", "config add operator", "catalog starter")
    )
    try:
        for block in (start, keep, load):
            place.run(block._replace(prints=[]))
    finally:
        place.close()
    config = place.phimage.home / "config/phimage/config.toml"
    config.write_text(config.read_text("utf-8").replace(place.url, ADDRESS), "utf-8")
    return place.phimage.home


NewPlace = Callable[[str], Place]


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewPlace]:
    """Makes the place that a block is tried on, and stops its server at the end."""
    made: list[Place] = []

    def place(name: str) -> Place:
        home = tmp_path / (name or "own")
        if name == "serve":
            shutil.copytree(request.getfixturevalue("installed"), home)
            made.append(Place(home))
            made[-1].run(Block(0, "sh", "phimage serve", "", True, 0, []))
            config = home / "config/phimage/config.toml"
            config.write_text(config.read_text("utf-8").replace(ADDRESS, made[-1].url), "utf-8")
        else:
            home.mkdir()
            made.append(Place(home))
            if name == "demo":
                made[-1].url = request.getfixturevalue("shared_demo").url
        return made[-1]

    yield place
    for found in made:
        found.close()


def _tried() -> Iterator[ParameterSet]:
    for page in PAGES:
        if blocks_of(page):
            yield pytest.param(page, marks=() if page.stem in FIRST else pytest.mark.more, id=page.stem)


@pytest.mark.parametrize("page", list(_tried()))
def test_commands_and_programs_of_a_page_do_what_it_says(
    page: Path, new_place: NewPlace, request: pytest.FixtureRequest
) -> None:
    places: dict[str, Place] = {}
    for block in blocks_of(page):
        if block.place not in places:
            places[block.place] = new_place(block.place)
        place = places[block.place]
        if DATABASE in block.text and not place.database:
            postgresql: PostgreSQL = request.getfixturevalue("postgresql")
            place.database = postgresql.url(postgresql.create())
        if S3 in block.text:
            place.serve_s3()
        try:
            place.run(block)
        except AssertionError as error:
            raise AssertionError(f"{page.name}, line {block.line}: {error}") from None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_phimage_commands_on_a_page_are_valid(page: Path) -> None:
    for arguments in _commands_on(page.read_text("utf-8")):
        command: click.Command = command_line
        context = click.Context(command)
        rest = list(arguments)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(context, rest.pop(0))
            assert found is not None, f"there is no command phimage {shlex.join(arguments)}"
            command, context = found, click.Context(found, parent=context)
        try:
            _options, extra, _order = command.make_parser(context).parse_args(rest)
        except click.UsageError as error:
            raise AssertionError(f"phimage {shlex.join(arguments)}: {error.message}") from None
        assert not extra, f"phimage {shlex.join(arguments)}: {extra} is too much"


@pytest.mark.parametrize(("page", "language"), [("ucloud-cli", "sh"), ("terraform", "hcl")])
def test_the_readme_has_the_blocks_of_a_page_whose_client_is_not_here(page: str, language: str) -> None:
    first = next(block["text"] for block in _BLOCK.finditer((DOCS / "how-to" / f"{page}.md").read_text("utf-8")))
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    block = re.search(rf"^```{language}\n({re.escape(first.splitlines()[0])}\n.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block, f"the README does not have the first block of {page}"
    assert set(block[1].splitlines()) <= set(first.splitlines())


def test_the_readme_begins_with_the_steps_that_the_demonstration_prints() -> None:
    page = (DOCS.parent / "README.md").read_text("utf-8")
    first = page[page.index("## The first five minutes") : page.index("**Python SDK**")]
    printed = [line for step in steps() for line in step.command.splitlines()]
    assert [
        line for block in _BLOCK.finditer(first) if block["language"] == "sh" for line in block["text"].splitlines()
    ] == printed


def test_the_chinese_readme_has_the_blocks_of_the_english_one() -> None:
    english, chinese = (
        [(block["language"], block["text"]) for block in _BLOCK.finditer((DOCS.parent / name).read_text("utf-8"))]
        for name in ("README.md", "README.zh-CN.md")
    )
    assert len(english) > 10
    assert chinese == english


def _commands_on(text: str) -> Iterator[list[str]]:
    """The arguments of every phimage command in shell blocks and in code between the lines."""
    shell = [block["text"].replace("\\\n", " ") for block in _BLOCK.finditer(text) if block["language"] == "sh"]
    for code in (*shell, *_CODE.findall(_BLOCK.sub("", text))):
        for arguments in _COMMAND.findall(code):
            yield shlex.split(arguments, comments=True)
