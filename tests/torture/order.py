"""The order of system calls in a recording of `strace -f -y` (T1): nothing is told before what it tells of is durable.

An object is durable when its file was synced before it was renamed, and then the folder that it is now in, and each
folder above that was made. A sync of the file system of the store's folder syncs all of them. A call counts as done from when
it returned, and as begun from when it was made: with several threads strace tells some calls in two halves.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

TRACED = "mkdir,write,writev,pwrite64,fsync,fdatasync,syncfs,rename,sendto,sendmsg"
"""The calls to record, with strings long enough for what is told: `strace -f -y -s 8192 -e trace=...`."""

NEVER = 1 << 62
_WRITES = ("write", "writev", "pwrite64", "sendto", "sendmsg")
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (\d+)")
_FILE = re.compile(r"\d+<([^>]*)>")


class Call(Struct, frozen=True):
    """A system call that went well. `begun` and `done` are lines of the recording."""

    begun: int
    done: int
    name: str
    arguments: str

    @property
    def file(self) -> str:
        """The path behind its first argument, a descriptor."""
        found = _FILE.match(self.arguments)
        return found[1] if found else ""

    @property
    def paths(self) -> list[str]:
        """Its arguments that are strings."""
        return re.findall(r'"([^"]*)"', self.arguments)


def read_calls(recording: str) -> list[Call]:
    """The calls of a recording that went well."""
    return list(_calls(recording))


def _calls(recording: str) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    for line, text in enumerate(recording.splitlines()):
        thread, _, call = text.partition(" ")
        call, first = call.strip(), line
        if call.endswith("<unfinished ...>"):
            begun[thread] = line, call.removesuffix("<unfinished ...>").rstrip()
            continue
        if (resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call)) and thread in begun:
            first, before = begun.pop(thread)
            call = before + resumed[1].lstrip()
        if found := _CALL.match(call):
            yield Call(first, line, found[1], found[2])


class Durable:
    """When each object of a store became durable, and what is wrong with how it did."""

    def __init__(self, calls: Sequence[Call], root: str) -> None:
        self.faults: list[str] = []
        self.since: dict[str, int] = {}
        self._syncs: defaultdict[str, list[Call]] = defaultdict(list)
        self._whole: list[Call] = []
        self._root = root
        self._writes: defaultdict[str, list[Call]] = defaultdict(list)
        self._made: dict[str, int] = {}
        for call in calls:
            if call.name in ("fsync", "fdatasync"):
                self._syncs[call.file].append(call)
            elif call.name == "syncfs" and call.file == root:
                self._whole.append(call)
            elif call.name in _WRITES:
                self._writes[call.file].append(call)
        for call in calls:
            if call.name == "mkdir" and call.paths[0].startswith(root):
                self._made[call.paths[0]] = self.synced(str(Path(call.paths[0]).parent), call.done)
        for call in calls:
            if call.name == "rename" and call.paths[1].startswith(root):
                self._renamed(call, *call.paths)

    def synced(self, path: str, after: int) -> int:
        """When the first sync of a file or folder was done that began after a line."""
        whole = self._whole if path.startswith(self._root) else []
        return min((sync.done for sync in (*self._syncs[path], *whole) if sync.begun > after), default=NEVER)

    def _renamed(self, call: Call, source: str, target: str) -> None:
        written = max((write.done for write in self._writes[source] if write.begun < call.begun), default=NEVER)
        if self.synced(source, written) >= call.begun:
            self.faults.append(f"{target} was renamed before it was synced")
        folders = [since for folder, since in self._made.items() if target.startswith(f"{folder}/")]
        since = max(self.synced(str(Path(target).parent), call.done), *folders, 0)
        self.since[target] = min(since, self.since.get(target, NEVER))


def check(
    calls: Sequence[Call],
    root: str,
    manifests: Mapping[str, Sequence[str]],
    database: str,
    parts: Mapping[int, str],
    sent: Sequence[str] = (),
    seal: str = "",
) -> list[str]:
    """Responses sent too early. `manifests` are objects with the chunks that they name, `parts` objects by their number, `sent`
    the frames of an upload by chunks, and `seal` its list of chunks.

    A manifest may be put when its chunks are durable, the catalogue's log may name it when it is, a person may hear of it when
    that log was synced, of a part and of a seal when that is durable, and of so many frames as are durable.
    """
    durable = Durable(calls, root)
    faults, since = durable.faults, durable.since
    for manifest, chunks in manifests.items():
        put = min((call.begun for call in calls if call.name == "rename" and call.paths[1] == manifest), default=NEVER)
        faults += [f"the manifest was put before {chunk} was durable" for chunk in chunks if since.get(chunk, NEVER) >= put]
        digest = Path(manifest).name
        named = [call for call in calls if call.name in _WRITES and call.file.startswith(database) and digest in call.arguments]
        if not named:
            faults.append(f"the catalogue never named {manifest}")
        elif since.get(manifest, NEVER) >= named[0].begun:
            faults.append(f"the catalogue named {manifest} before it was durable")
        committed = durable.synced(named[0].file, named[0].done) if named else NEVER
        told = [call.begun for call in calls if _answers(call, '\\"State\\":\\"Done\\"')]
        if not told or min(told) <= committed:
            faults.append("the job was told as done before that was committed")
    for number, part in parts.items():
        told = [call.begun for call in calls if _answers(call, "201", f'\\"Part\\":{number},')]
        if not told or min(told) <= since.get(part, NEVER):
            faults.append(f"part {number} was told as kept before it was durable")
    acknowledged = 0
    for call in calls:
        if seal and _answers(call, "201", '\\"Size\\":', '\\"Chunks\\":'):
            if call.begun <= max(since.get(name, NEVER) for name in (*sent, seal)):
                faults.append("the disk was told as sealed before it was durable")
            seal = ""
        elif sent and _answers(call, "201") and (found := re.search(r'\{\\"Chunks\\":(\d+)\}', call.arguments)):
            acknowledged += int(found[1])
            if acknowledged > sum(since.get(name, NEVER) < call.begun for name in sent):
                faults.append(f"{acknowledged} chunks were told as kept before they were durable")
    if seal or (sent and acknowledged < len(sent)):
        faults.append("the upload was not told as kept")
    return faults


def _answers(call: Call, *texts: str) -> bool:
    """Whether a call sends an answer that has these texts."""
    return call.name in _WRITES and "HTTP/1.1" in call.arguments and all(text in call.arguments for text in texts)
