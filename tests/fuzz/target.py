"""What is fuzzed: one raw HTTP request against the whole gateway in this process.

`Gateway.send` checks the answer: a JSON object at HTTP 200 or 405 with an integer RetCode below 2000, in time, and no error
inside phimage. So that inputs get beyond the signature, forty zeros in a request are replaced by the right one for its
parameters.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from phimage import demo
from phimage.catalog.accounts import NewKey, add_user, put_key
from phimage.errors import RequestError
from phimage.gateway.params import Params, read_params
from phimage.gateway.signature import sign
from phimage.installation import command_author, open_catalog
from phimage.model.account import PrivateKey
from phimage.model.ids import AccountId, PublicKey
from tests.api.gateway import PAGES, Gateway, running, settings_for
from tests.api.recording import FOLDER, parse
from tests.api.signer import DEMO, Pair, Request

CORPUS = Path(__file__).parent / "corpus"

OPERATOR = Pair("key-operator", "secret-operator")
UNSIGNED = b"0" * 40
"""Stands where the signature goes."""

SLOWEST = 5.0
"""Seconds of processor time that an answer may take: a busy machine needs longer. `ANSWER_SECONDS` ends one that hangs."""
FRESH_AFTER = 20_000
CHECK_EVERY = 500


def seeds() -> dict[str, bytes]:
    """The seed corpus: the recordings of real clients and what was made to be nasty."""
    files = [*FOLDER.glob("*.http"), *CORPUS.glob("*.http")]
    return {path.stem: path.read_bytes() for path in sorted(files)}


def signed(request: Request) -> Request | None:
    """The request with its signature in place. None for one that asks to wait, which is no hang."""
    content_type = {name.lower(): value for name, value in request.headers}.get("content-type", "")
    query = request.query.encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        params = read_params(request.method, content_type, query, request.body)
    except RequestError:
        return request
    if params.get("Action") == "ListPHostImageChanges" and params.get("Wait") not in (None, "", "0"):
        return None
    private = {DEMO.public: DEMO.private, OPERATOR.public: OPERATOR.private}.get(str(params.get("PublicKey")))
    if private is None or not _signable(params):
        return request
    signature = sign(params, PrivateKey(private)).encode("ascii")
    return request._replace(
        body=request.body.replace(UNSIGNED, signature), query=request.query.replace(UNSIGNED.decode(), signature.decode())
    )


def _signable(params: Params) -> bool:
    try:
        str(params).encode()
    except UnicodeEncodeError:
        return False
    return params.get("Signature") == UNSIGNED.decode()


class Target:
    """A gateway that is fuzzed. It is made anew now and then, because some inputs change it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._gateway = self._new()
        self.inputs = 0
        self.ret_codes: Counter[int] = Counter()
        self.slowest = 0.0

    def check(self, data: bytes) -> None:
        """Send the request in a file. Raises AssertionError when the answer is not what every answer must be."""
        self.send(parse(data))

    def send(self, request: Request) -> None:
        """Send a request, with the right signature where it has none."""
        ready = signed(request)
        if ready is None:
            return
        self.inputs += 1
        if self.inputs % CHECK_EVERY == 0:
            self._keep_going()
        before = time.process_time()
        for _ in range(1 if self.inputs % 4 else 2):  # the same bytes again take a shorter way
            reply = self._gateway.replay(ready)
        took = time.process_time() - before
        assert took < SLOWEST, f"an answer took {took:.1f} seconds"
        self.slowest = max(self.slowest, took)
        if ready.method != "GET" or ready.path not in PAGES:
            self.ret_codes[reply.ret_code] += 1

    def _keep_going(self) -> None:
        """Start anew when the keys were taken away or much was added."""
        good = all(self._gateway.ask("GetUserInfo", pair=pair).ret_code == 0 for pair in (DEMO, OPERATOR))
        if not good or self.inputs % FRESH_AFTER == 0:
            self.start_anew()

    def start_anew(self) -> None:
        """Take a gateway that no input has changed yet."""
        self._stack.close()
        self._gateway = self._new()

    def _new(self) -> Gateway:
        copy = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="phimage-fuzz-"))) / "data"
        shutil.copytree(self._folder, copy)
        return self._stack.enter_context(running(settings_for(copy, allow_legacy_operator_signatures=True)))


@contextmanager
def target() -> Iterator[Target]:
    """A target on the demonstration's catalogue, with a key of the demonstration and one of the operator."""
    with tempfile.TemporaryDirectory(prefix="phimage-fuzz-") as folder, ExitStack() as stack:
        data = Path(folder) / "data"
        demo.fill(settings_for(data))
        catalog = open_catalog(settings_for(data))
        try:
            with catalog.change(command_author("Fuzz")) as change:
                user = add_user(change, AccountId("operator"), "fuzz", "", main=False)
                put_key(change, user, catalog.key_encryption, NewKey(PublicKey(OPERATOR.public), PrivateKey(OPERATOR.private)))
        finally:
            catalog.database.close()
        yield Target(data, stack)


def written(request: Request) -> bytes:
    """A request as a file of the corpus."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "\n".join(lines).encode("latin-1", "replace") + b"\n\n" + request.body
