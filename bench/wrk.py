"""Load from `wrk`, a separate process, and its report."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

CONNECTIONS = 32

_ERRORS = r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)"

_SCRIPT = """
local bodies, paths, requests = {{}}, {{ {paths} }}, {{}}
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
local headers = {{ {headers} }}
function init(args)
  for turn, body in ipairs(bodies) do
    requests[turn] = wrk.format("POST", paths[(turn - 1) % #paths + 1], headers, body)
  end
end
local turn = 0
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
local pause = {pause}
if pause > 0 then
  function delay()
    return math.floor(-math.log(1 - math.random()) * pause + 0.5)
  end
end
"""


class Load(Struct, frozen=True):
    """The result of a run. Latencies in milliseconds; `errors` counts broken connections and bad HTTP statuses."""

    requests: int
    requests_per_second: float
    p50: float
    p99: float
    errors: int


def find() -> str:
    """The path of wrk. Exits with advice when it is missing."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("the measurement needs wrk; on Debian: apt-get install wrk")
    return found


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def post(
    url: str, bodies: Sequence[str], work: Path, seconds: int, *, paths: Sequence[str] = ("/",), pause: float = 0.0
) -> Load:
    """Send the form bodies in rotation for a number of seconds, over 32 connections, each to the next path.

    With `pause` each connection rests after an answer, for a random time of so many milliseconds on average: 32 clients that
    come when they come, as a service that is not overloaded has them.
    """
    listed, script = work / "bodies.txt", work / "post.lua"
    listed.write_text("\n".join(bodies))
    quoted = ", ".join(f'"{path}"' for path in paths)
    script.write_text(_SCRIPT.format(bodies=listed, paths=quoted, pause=pause, headers=_lua(FORM)))
    return _load(url, script, seconds)


def _load(url: str, script: Path, seconds: int) -> Load:
    command = [find(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Load(
        requests=int(_one(r"(\d+) requests in", text)),
        requests_per_second=float(_one(r"Requests/sec:\s+([\d.]+)", text)),
        p50=_milliseconds(_one(r"\n\s+50%\s+(\S+)", text)),
        p99=_milliseconds(_one(r"\n\s+99%\s+(\S+)", text)),
        errors=sum(int(number) for number in re.findall(_ERRORS, text)),
    )


def half_load_pause(limit: float) -> float:
    """The pause between requests of a client at half of that many requests per second."""
    return 2 * (CONNECTIONS - 1) * 1000 / limit


def _lua(headers: Mapping[str, str]) -> str:
    return ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())


def _one(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk said something unexpected:\n{text}")
    return found[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
