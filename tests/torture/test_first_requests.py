"""Many first requests at once: a record that several threads decode for the first time must not kill the server."""

from __future__ import annotations

import subprocess
import sys

FIRST_USE = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from msgspec import Meta, convert, defstruct

from phimage.application import prime_decoders

Text = Annotated[str, Meta(max_length=9)]
records = []
for _ in range(150):
    inner = defstruct("Inner", [("a", int), ("b", Text, "")])
    fields = [(f"f{number}", Text, "") for number in range(20)]
    records.append(defstruct("Outer", [("inner", inner), ("many", tuple[Text, ...], ()), ("any", dict[str, Any], {}), *fields]))
if sys.argv[1] == "learned":
    prime_decoders()
sys.setswitchinterval(1e-6)
together = threading.Barrier(16)

def decode(_):
    for record in records:
        together.wait()
        convert({"inner": {"a": 1}, "many": ["a"], "f3": "b"}, record)

with ThreadPoolExecutor(16) as pool:
    list(pool.map(decode, range(16)))
"""


def test_records_are_learned_before_threads_decode_them() -> None:
    command = [sys.executable, "-c", FIRST_USE, "learned"]
    assert subprocess.run(command, timeout=240, check=False).returncode == 0
