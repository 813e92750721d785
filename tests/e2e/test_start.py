"""Starting a server: the first time, again, and where something does not fit."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from select import select
from urllib.parse import urlsplit

import psycopg
import pytest

from phimage import demo as demonstration
from phimage.client import Client
from phimage.errors import Refused
from phimage.model.account import PrivateKey
from tests.e2e.conftest import Serve
from tests.e2e.process import (
    OPEN_UMASK,
    PHIMAGE,
    STOP_SECONDS,
    Key,
    Phimage,
    Server,
    open_to_others,
    wait_until,
    wait_until_read,
)

START = "--region cn-bj2 --zone cn-bj2-02"
"""The place in the starter catalogue that the profile begins in."""


def accounts(server: Server, key: Key) -> list[str]:
    with Client(server.url, key.public, PrivateKey(key.private)) as client:
        return [row["Account"] for row in client.call("ListAccounts").fields["AccountSet"]]


def test_the_first_start_prints_the_operators_key_and_later_ones_do_not(serve: Serve, tmp_path: Path) -> None:
    with serve(under=OPEN_UMASK) as server:
        key = server.new_key
        assert key is not None
        assert accounts(server, key) == ["operator"]
        lines = server.output.splitlines()
        assert lines[0] == "This is the first start. The key of the operator account, which is shown only once:"
        assert f"  phimage config add operator --endpoint {server.url} --public-key {key.public} {START}" in lines
        assert lines[-1] == f"listening on {server.url}"
        assert server.output.count(key.private) == 1
    with serve() as server:
        hint = "Nothing was changed since the first start. If its key was lost, make another one with the settings of\n"
        assert server.output == f"{hint}this server: phimage key recover\nlistening on {server.url}\n"
        assert accounts(server, key) == ["operator"]
    data = tmp_path / "home" / "data"
    assert open_to_others(data) == []
    for path in (path for path in data.rglob("*") if path.is_file()):
        assert key.private.encode() not in path.read_bytes(), "a private key is kept encrypted only"


@pytest.mark.more
def test_a_lost_operator_key_is_recovered_on_the_machine_itself(tmp_path: Path) -> None:
    phimage = Phimage(tmp_path)
    with Server(phimage, "serve", "--port", "0", "--data-dir", "data") as server:
        made = phimage.json("key", "recover", "--data-dir", "data")
        new = Key(made["PublicKey"], made["PrivateKey"])
        assert accounts(server, new) == ["operator"], "a running server knows it at once"
        with Client(server.url, new.public, PrivateKey(new.private)) as client:

            def newest() -> tuple[str, str, str]:
                found = client.call("ListRevisions", Limit=1).fields["RevisionSet"][0]
                return found["Action"], found["Actor"], found["Address"]

            wait_until(lambda: newest() == ("RecoverOperatorKey", "command line", "local"), STOP_SECONDS)


def test_several_workers_answer_and_all_of_them_know_at_once_what_one_was_told(serve: Serve) -> None:
    with serve("--workers", "2") as server:
        key = server.new_key
        assert key is not None
        assert len(server.workers()) >= 2
        with Client(server.url, key.public, PrivateKey(key.private)) as client:
            made = client.call("CreateAccount", Account="acme", ZoneLimit=["any"], NetworkLimit=["any"]).fields
            tenant = (made["PublicKey"], PrivateKey(made["PrivateKey"]))
            for _ in range(20):  # each on a connection of its own, so on either worker
                with Client(server.url, *tenant) as one:
                    assert one.call("GetUserInfo").fields["DataSet"][0]["UserName"] == "main"
            client.call("RevokeAccessKey", AccessKey=made["PublicKey"])

        def refused_by_all() -> bool:
            codes = set()
            for _ in range(20):
                with Client(server.url, *tenant) as one:
                    try:
                        codes.add(one.call("GetUserInfo").fields["RetCode"])
                    except Refused as refused:
                        codes.add(refused.ret_code)
            return codes == {172}

        wait_until(refused_by_all, STOP_SECONDS)


@pytest.mark.more
def test_a_client_that_waits_for_news_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    with Server(Phimage(tmp_path), "demo", "--port", "0") as server:
        with demonstration.client(server.url) as client:
            now = client.call("GetUserInfo").revision
            request = client.prepare("ListPHostImageChanges", After=now, Wait=25)
        with closing(HTTPConnection(urlsplit(server.url).netloc, timeout=STOP_SECONDS)) as connection:
            connection.request("POST", "/", request.body, dict(request.headers))
            wait_until_read(server.url, 1)
            assert select([connection.sock], [], [], 0.5) == ([], [], []), "there is an answer"
            server.signal(signal.SIGTERM)  # who waits on is cut off after 10 s
            assert json.loads(connection.getresponse().read())["ChangeSet"] == []
            server.end()


def test_two_first_starts_at_once_make_one_operator(tmp_path: Path) -> None:
    phimage = Phimage(tmp_path)
    commands = ("serve", "--port", "0", "--data-dir", "data")
    outputs = [tmp_path / "one.out", tmp_path / "two.out"]
    servers = []
    for output in outputs:
        with output.open("w") as stream:
            servers.append(
                subprocess.Popen([PHIMAGE, *commands], env=phimage.environment, cwd=tmp_path, stdout=stream, stderr=stream)
            )
    try:
        wait_until(lambda: all("listening on" in output.read_text() for output in outputs), STOP_SECONDS)
    finally:
        for server in servers:
            server.send_signal(signal.SIGINT)
        try:
            codes = [server.wait(STOP_SECONDS) for server in servers]
        finally:
            for server in servers:
                server.kill()
                server.wait()
    assert codes == [0, 0], [output.read_text() for output in outputs]
    said = "".join(output.read_text() for output in outputs)
    assert said.count("This is the first start.") == 1
    with closing(sqlite3.connect(tmp_path / "data" / "catalog.sqlite")) as database:
        assert database.execute('SELECT count(*) FROM "user"').fetchone() == (1,)


@pytest.mark.more
def test_a_busy_port_is_told_before_anything_is_made(tmp_path: Path) -> None:
    phimage = Phimage(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as busy:
        port = str(busy.getsockname()[1])
        for command in ("serve", "demo"):
            result = phimage.run(command, "--port", port, "--data-dir", "data")
            told = f"phimage: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another port with --port\n"
            assert (result.code, result.out, result.err) == (78, "", told)
    assert not (tmp_path / "data").exists(), "else the operator's key would be made and never shown"


def test_a_second_server_on_the_port_of_a_first_one_is_refused(demo: Server, tmp_path: Path) -> None:
    port = demo.url.rpartition(":")[2]
    result = Phimage(tmp_path).run("serve", "--port", port)
    assert result.code == 78
    assert f"cannot listen on 127.0.0.1 port {port}" in result.err


@pytest.mark.more
def test_a_database_of_an_unknown_schema_is_refused_and_left_alone(
    serve: Serve, dialect: str, database_url: str, tmp_path: Path
) -> None:
    with serve():
        pass
    home = Phimage(tmp_path / "home")

    def mark(version: str) -> None:
        for statement in (f"UPDATE alembic_version SET version_num = '{version}'", f"UPDATE head SET oldest = '{version}'"):
            if dialect == "postgresql":
                with psycopg.connect(database_url, autocommit=True) as database:
                    database.execute(statement.encode())
            else:
                with closing(sqlite3.connect(tmp_path / "home" / "data" / "catalog.sqlite")) as database:
                    database.execute(statement)
                    database.commit()

    known = home.json("db", "status", "--data-dir", "data", "--database", database_url)
    assert known["Schema"] == known["Needed"]
    mark("9999")
    result = home.run("serve", "--port", "0", "--data-dir", "data", "--database", database_url)
    told = (
        "phimage: the database has schema 9999 and needs a phimage of schema 9999 or newer;"
        f" this one has {known['Needed']}: use the newer phimage\n"
    )
    assert (result.code, result.out, result.err) == (78, "", told)
    left = home.json("db", "status", "--data-dir", "data", "--database", database_url)
    assert left == {"Schema": "9999", "Needed": known["Needed"], "Oldest": "9999"}


@pytest.mark.more
def test_a_master_key_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    phimage = Phimage(tmp_path)
    serve = ("serve", "--port", "0", "--data-dir", "data")
    with Server(phimage, *serve) as server:
        key = server.new_key
        assert key is not None
    master = tmp_path / "data" / "master.key"
    master.chmod(0o644)
    result = phimage.run(*serve)
    told = "phimage: data/master.key has mode 0644: others can read the master key; run: chmod 600 data/master.key\n"
    assert (result.code, result.out, result.err) == (78, "", told)
    subprocess.run(["sh", "-c", result.err.strip().rpartition("run: ")[2]], cwd=tmp_path, check=True)

    text = master.read_text()
    master.unlink()
    lost = phimage.run(*serve)
    assert (lost.code, "restore the master key" in lost.err) == (78, True)
    assert not master.exists(), "a new one would make all keys useless"
    os.close(os.open(master, os.O_WRONLY | os.O_CREAT, 0o600))
    master.write_text("not a key\n")
    wrong = phimage.run(*serve)
    assert (wrong.code, "is not a master key: expected 64 hexadecimal digits" in wrong.err) == (78, True)
    master.write_text(text)
    with Server(phimage, *serve) as server:
        assert accounts(server, key) == ["operator"]


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = Phimage(tmp_path).run("serve", "--port", "0", "--data-dir", "file/data")
    assert result.code == 78
    assert result.err == "phimage: the data folder file/data cannot be used: Not a directory; choose another with --data-dir\n"


def test_a_database_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    result = Phimage(tmp_path).run("serve", "--port", "0", "--database", "postgresql://phimage:hunter2@127.0.0.1:1/phimage")
    assert result.code == 69
    assert "the database did not answer" in result.err
    assert "hunter2" not in result.err
