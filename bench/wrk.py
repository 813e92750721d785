"""Load from `wrk`, a separate process, and what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from msgspec import Struct

CONNECTIONS = 32

_ERRORS = r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)"


class Load(Struct, frozen=True):
    """What a run came to. Latencies in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float
    errors: int


def find() -> str:
    """Where wrk is. Exits with advice when it is missing."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("the measurement needs wrk; on Debian: apt-get install wrk")
    return found


def post(url: str, bodies: list[str], work: Path, seconds: int) -> Load:
    """Send the form bodies in turn for some seconds, from 32 connections."""
    script = work / "post.lua"
    quoted = ",\n".join(f'"{body}"' for body in bodies)
    script.write_text(
        f"""local bodies = {{ {quoted} }}
local headers = {{ ["Content-Type"] = "application/x-www-form-urlencoded" }}
local turn = 0
function request()
  turn = turn % #bodies + 1
  return wrk.format("POST", "/", headers, bodies[turn])
end
"""
    )
    command = [find(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Load(
        requests_per_second=float(_one(r"Requests/sec:\s+([\d.]+)", text)),
        p50=_milliseconds(_one(r"50%\s+(\S+)", text)),
        p99=_milliseconds(_one(r"99%\s+(\S+)", text)),
        errors=sum(
            int(number) for number in re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", text)
        ),
    )


def _one(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk said something unexpected:\n{text}")
    return found[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
