"""What interrupts a publication: a stopped server, Ctrl-C, a lost connection. Each goes on where it was."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from phimage.catalog import jobs
from phimage.model.ids import ImageId
from phimage.model.job import Job, JobState
from tests.publishing.shop import disk, sha256_of
from tests.torture.installation import SECONDS, Installation, eventually, publish_command


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as found:
        found.start()
        yield found


def jobs_of(installation: Installation) -> list[Job]:
    with installation.catalog.database.read() as connection:
        found = [jobs.newest_of(connection, image) for image in installation.contents()]
    return [job for job in found if job is not None]


def uploaded(installation: Installation) -> dict[Path, int]:
    """The files of chunks that were sent, and when they were written."""
    found = {}
    for path in (installation.data / "store" / "uploads").rglob("*"):
        with suppress(FileNotFoundError):  # an upload that has just ended is removed
            if path.is_file():
                found[path] = path.stat().st_mtime_ns
    return found


def check_published(installation: Installation, told: str, file: Path) -> None:
    """A command's image has the file's bytes, and is the only one."""
    contents = installation.contents()
    assert list(contents) == [ImageId(told.strip())]
    assert contents[ImageId(told.strip())].sha256 == sha256_of(file)


def ended_well(command: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, err
    assert "Traceback" not in err
    return out, err


@pytest.mark.more
def test_a_server_that_is_stopped_lets_its_job_go_and_finishes_it_when_it_is_started_again(
    installation: Installation, tmp_path: Path
) -> None:
    for number in range(1, 10):  # until one is caught in the middle
        file = disk(tmp_path, mebibytes=80, seed=number)
        image = ImageId(installation.cli.well(*publish_command(str(file), file.name, "--detach")).strip())
        eventually(lambda: all(job.state is not JobState.QUEUED for job in jobs_of(installation)), "nobody began")
        server = installation.server
        installation.stop()
        newest = max(jobs_of(installation), key=lambda job: job.created)
        assert newest.state in (JobState.QUEUED, JobState.DONE)
        if newest.state is JobState.QUEUED:
            break
        installation.start()
    assert server is not None
    assert '"event": "job.let_go"' in server.errors

    installation.start()

    eventually(lambda: installation.contents()[image].stored, "nobody went on")
    assert installation.contents()[image].sha256 == sha256_of(file)
    assert list((installation.data / "work").iterdir()) == []


@pytest.mark.more
def test_an_upload_that_was_interrupted_goes_on_with_the_same_command(tmp_path: Path) -> None:
    file = disk(tmp_path, mebibytes=400)
    command = publish_command(str(file), "large")
    with Installation(tmp_path, PHIMAGE_PUBLISHERS="0") as installation:
        installation.start()
        first = installation.cli.start(*command)
        eventually(lambda: len(uploaded(installation)) >= 2, "no chunk came")  # of 201 and their list

        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=SECONDS)

        assert first.returncode == 130
        assert "run the same command again to resume" in err
        before = uploaded(installation)
        assert len(before) < 202
        out, _ = ended_well(installation.cli.start(*command, "--detach"))
        after = uploaded(installation)
        assert len(after) == 202
        assert before.items() <= after.items(), "a chunk was sent once more"
        publisher = installation.home.start("publisher")
        eventually(lambda: installation.contents()[ImageId(out.strip())].stored, "it was not published")
        publisher.terminate()
        publisher.communicate(timeout=SECONDS)
        check_published(installation, out, file)


@pytest.mark.more
def test_a_command_goes_on_by_itself_when_the_server_is_killed_under_its_upload_and_comes_back(
    installation: Installation, tmp_path: Path
) -> None:
    file = disk(tmp_path, mebibytes=120)
    command = installation.cli.start(*publish_command(str(file), "large"))
    eventually(lambda: bool(uploaded(installation)), "no chunk came")
    installation.kill()
    installation.start()

    out, _ = ended_well(command)

    check_published(installation, out, file)


@pytest.mark.more
def test_a_command_goes_on_by_itself_when_the_server_is_killed_while_the_image_is_made(
    installation: Installation, tmp_path: Path
) -> None:
    file = disk(tmp_path, mebibytes=80)
    command = installation.cli.start(*publish_command(str(file), "large"))
    eventually(lambda: any(job.state is not JobState.WAITING for job in jobs_of(installation)), "nothing was uploaded")
    installation.kill()
    installation.start()

    out, _ = ended_well(command)

    check_published(installation, out, file)
