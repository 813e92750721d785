"""Lists, downloads and changes while workers are killed and the server is reloaded: no wrong byte, and nearly all answered."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import urllib3

from phimage.client import Client
from phimage.errors import Refused, ServiceUnavailable, Unreachable
from phimage.http.freshness import STALE_SECONDS
from tests.e2e.test_processes import Load, alive
from tests.publishing.shop import disk, sha256_of
from tests.torture.installation import SECONDS, Installation, eventually, publish_command
from tests.torture.length import lengths

Result = TypeVar("Result")
FORMS = ("RawUrl", "ZstdUrl", "Qcow2Url")
WANTED = ("downloads", "changes", "kills", "hang-ups")
"""What must have happened."""


class SeenQuota(NamedTuple):
    """A quota as it was listed, and when it was asked for. Knowledge that is older than promised states its age."""

    asked: float
    limit: int
    states_its_age: bool


class Crowd:
    """Clients that download one image in all forms, and one that changes a quota."""

    def __init__(self, installation: Installation, sha256: str) -> None:
        self._installation = installation
        self._sha256 = sha256
        self._first: dict[str, str] = {}
        self._over = threading.Event()
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []

    def stop(self) -> None:
        self._over.set()

    def download(self, seed: int) -> None:
        chance = random.Random(seed)
        with self._installation.client() as client:
            (image,) = self._installation.contents()
            urls = self._persist(lambda: client.call("GetPHostImageDownloadUrl", ImageId=image).fields)
        while not self._over.is_set():
            form = chance.choice(FORMS)
            digest = self._digest(urls[form])
            if digest is None:  # broken off, which the client notices
                self.count["broken downloads"] += 1
            elif digest != (self._sha256 if form == "RawUrl" else self._first.setdefault(form, digest)):
                self.wrong.append(f"{form} has {digest}")
            else:
                self.count["downloads"] += 1

    def change(self) -> None:
        told: list[tuple[float, int]] = []
        with self._installation.client() as client:
            while not self._over.is_set():
                limit = len(told) + (1 << 40)
                self._persist(lambda limit=limit: client.call("SetQuota", Project="Base", Limit=limit))  # type: ignore[misc]
                told.append((time.monotonic(), limit))
                seen = self._persist(lambda: self._quota(client))
                must = max((known for at, known in told if at < seen.asked - STALE_SECONDS), default=0)
                if not (must <= seen.limit <= limit or seen.states_its_age):
                    self.wrong.append(f"the quota is {seen.limit}, and was {must} a second before, after {limit}")
                self.count["changes"] += 1
                time.sleep(0.05)

    def _quota(self, client: Client) -> SeenQuota:
        """The quota by a connection of its own, which any worker may have."""
        request, asked = client.prepare("ListQuotas"), time.monotonic()
        try:
            answer = urllib3.request("POST", request.url, body=request.body, headers=request.headers, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error)) from error
        fields = answer.json()
        if fields["RetCode"]:
            raise Refused(fields["RetCode"], fields["Message"], fields.get("Detail", ""), "", fields)
        (quota,) = fields["QuotaSet"]
        return SeenQuota(asked, quota["Limit"], "X-Phimage-Age" in answer.headers)

    def _digest(self, url: str) -> str | None:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            body = answer.read()
            return hashlib.sha256(body).hexdigest() if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _persist(self, step: Callable[[], Result]) -> Result:
        ends = time.monotonic() + SECONDS
        while True:
            try:
                return step()
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and error.ret_code != ServiceUnavailable.ret_code:  # else the database was busy
                    raise
                self.count["sent again"] += 1
                assert time.monotonic() < ends


@lengths("seconds", 6, 600)
def test_no_byte_is_wrong_while_workers_are_killed_and_replaced(tmp_path: Path, seconds: int) -> None:
    original, chance = disk(tmp_path), random.Random(seconds)
    variables = {"PHIMAGE_WORKERS": "2", "PHIMAGE_MAX_WORKER_DEATHS": "100000"}
    with Installation(tmp_path, **variables) as installation:
        server = installation.start()
        installation.cli.well(*publish_command(str(original), "mixed"))
        load, crowd = Load(server), Crowd(installation, sha256_of(original))
        with load.running(), ThreadPoolExecutor(3) as pool:
            tasks = [pool.submit(crowd.download, 1), pool.submit(crowd.download, 2), pool.submit(crowd.change)]
            ends = time.monotonic() + seconds
            while not any(task.done() for task in tasks):
                if time.monotonic() > ends and (min(crowd.count[name] for name in WANTED) or time.monotonic() > ends + SECONDS):
                    break
                answered = load.answered  # by those that are there now: no request may meet two kills
                eventually(lambda answered=answered: load.answered > answered + 50, "nothing is answered")  # type: ignore[misc]
                time.sleep(chance.uniform(0.3, 1.5))
                if chance.random() < 0.5:
                    server.signal(signal.SIGHUP)
                    crowd.count["hang-ups"] += 1
                else:
                    os.kill(chance.choice(alive(server)).pid, signal.SIGKILL)
                    crowd.count["kills"] += 1
            crowd.stop()
            for task in tasks:
                task.result(SECONDS)
        eventually(lambda: len(alive(server)) >= 2, "workers are not replaced")
        assert crowd.wrong == []
        assert min(crowd.count[name] for name in WANTED) > 0
        assert len(load.failures) <= load.answered / 1000, load.failures
        installation.stop()
