"""What tests ask of the endpoint itself, below `/ci/`.

    GET    /ci/ready                                        the endpoint, its keys and its worlds
    GET    /ci/w/NAME/journal?action=ACTION | clock | state
    POST   /ci/w/NAME/reset | seed | clock | transition | fault | key | host
    DELETE /ci/w/NAME

JSON in, JSON out, with the statuses of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from phimage import __version__
from phimage.catalog import jobs
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import head
from phimage.ci.fault import read_rule
from phimage.ci.journal import encode_calls
from phimage.ci.keys import make_key
from phimage.ci.path import check_world_name
from phimage.ci.transition import read_transition, shown_transition
from phimage.ci.values import BadControl, read_duration, read_time, shown
from phimage.ci.world import World
from phimage.ci.worlds import Worlds
from phimage.errors import Refused
from phimage.http.response import HttpError

Fields = Mapping[str, Any]


class Control:
    """Answers requests below `/ci/`. Used on the event loop alone."""

    def __init__(self, worlds: Worlds, keys: Mapping[str, Mapping[str, str]]) -> None:
        """`keys` are those that every world starts with, by name."""
        self._worlds = worlds
        self._keys = keys
        self._posts: dict[str, Callable[[World, Fields], Fields]] = {
            "transition": _follow,
            "fault": _add_fault,
            "key": _make_key,
        }
        self._gets: dict[str, Callable[[World, Fields], Fields]] = {"journal": _journal, "clock": _clock, "state": _state}

    async def answer(self, method: str, path: str, query: str, body: bytes) -> Fields:
        """The fields of the answer. Raises BadControl and HttpError."""
        if path == "/ci/ready":
            _require(method, "GET")
            return {"ready": True, "version": __version__, "keys": self._keys, "worlds": sorted(self._worlds.names)}
        name, _, what = path.removeprefix("/ci/w/").partition("/") if path.startswith("/ci/w/") else ("", "", "")
        if not name:
            raise HttpError(404, "Not found", "there are /ci/ready and /ci/w/NAME/...")
        check_world_name(name)
        if not what:
            _require(method, "DELETE")
            return {"dropped": self._worlds.drop(name)}
        if what == "clock" and method == "POST":
            return await self._move_clock(self._worlds.get(name), _json(body))
        if what == "seed":
            _require(method, "POST")
            return await self._plant(self._worlds.get(name), body)
        if what == "host":
            _require(method, "POST")
            return await self._boot(self._worlds.get(name), _json(body))
        if what == "reset":
            _require(method, "POST")
            self._worlds.reset(name)
            return {"world": name}
        if what in self._gets:
            _require(method, "GET, POST" if what == "clock" else "GET")
            given = {field: values[-1] for field, values in parse_qs(query).items()}
            return self._gets[what](self._worlds.get(name), given)
        if what in self._posts:
            _require(method, "POST")
            return self._posts[what](self._worlds.get(name), _json(body))
        known = ", ".join(sorted({*self._gets, *self._posts, "host", "reset", "seed"}))
        raise HttpError(404, "Not found", f"a world has {known}")

    async def _move_clock(self, world: World, fields: Fields) -> Fields:
        _known(fields, "advance", "set", "run")
        await _settle(world)  # what was begun before has its time from before
        if "set" in fields:
            world.clock.set(read_time(fields["set"], "set"))
        if "advance" in fields:
            world.clock.advance(read_duration(fields["advance"], "advance"))
        if "run" in fields:
            if not isinstance(fields["run"], bool):
                raise BadControl(f"run: {fields['run']!r} is neither true nor false", "expected whether the clock runs")
            world.clock.run(fields["run"])
        await _settle(world)
        return _clock(world, {})

    async def _boot(self, world: World, fields: Fields) -> Fields:
        _known(fields, "host", "boot")
        try:
            id = await world.in_turn(world.boot_host, str(fields.get("host", "")), fields.get("boot"))
        except Refused as refused:
            raise BadControl("the host cannot be booted", str(refused)) from None
        await _settle(world)
        return {"host": id}

    async def _plant(self, world: World, body: bytes) -> Fields:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise BadControl("the seed is not UTF-8", "post the text of a seed file") from None
        await world.in_turn(world.plant, text)
        await _settle(world)
        return {"world": world.name, "revision": world.catalog.head}


async def _settle(world: World) -> None:
    """Let the world do what is due. Raises BadControl for a host of a seed that cannot be registered."""
    try:
        await world.in_turn(world.settle, asyncio.get_running_loop())
    except Refused as refused:
        raise BadControl("a host of the seed cannot be registered", str(refused)) from None


def _journal(world: World, fields: Fields) -> Fields:
    _known(fields, "action")
    return {"calls": encode_calls(world.journal.calls(str(fields.get("action", ""))))}


def _clock(world: World, fields: Fields) -> Fields:
    _known(fields)
    return {"now": world.clock(), "time": shown(world.clock()), "running": world.clock.is_running}


def _state(world: World, fields: Fields) -> Fields:
    """What there is besides the journal: read from the database, so that no request is needed to see it."""
    _known(fields)
    with world.catalog.database.read() as connection:
        images = sorted(IMAGES.live(connection), key=lambda image: image.id)
        unfinished = jobs.all_unfinished(connection)
        revision = head(connection)
    return {
        "world": world.name,
        "revision": revision,
        "clock": _clock(world, {}),
        "faults": [rule.text for rule in world.faults.rules],
        "transitions": {image: shown_transition(each) for image, each in world.publisher.transitions.items()},
        "images": [{"id": image.id, "project": image.project, "state": image.state.value} for image in images],
        "jobs": [{"id": job.id, "image": job.image, "state": job.state.value, "phase": job.phase} for job in unfinished],
    }


def _follow(world: World, fields: Fields) -> Fields:
    _known(fields, "transition", "image", "host")
    if "transition" not in fields:
        raise BadControl("transition is missing", 'expected {"transition": "immediate"} or another one')
    name = fields.get("image", fields.get("host", ""))
    if not isinstance(name, str):
        raise BadControl(f"{name!r} is no id", "expected the id of an image or the name of a host, or leave it out for all")
    world.publisher.follow(read_transition(fields["transition"]), name)
    return {"transitions": {id: shown_transition(each) for id, each in world.publisher.transitions.items()}}


def _add_fault(world: World, fields: Fields) -> Fields:
    _known(fields, "rule", "clear")
    if fields.get("clear"):
        world.faults.clear()
    if "rule" in fields:
        world.faults.add(read_rule(str(fields["rule"])))
    return {"faults": [rule.text for rule in world.faults.rules]}


def _make_key(world: World, fields: Fields) -> Fields:
    names = ("account", "user", "public", "private", "role", "project")
    _known(fields, *names)
    given = {name: fields.get(name, "") for name in names}
    if not all(isinstance(value, str) for value in given.values()):
        raise BadControl("a key is described by texts", f"expected texts for {', '.join(names)}")
    key = make_key(world, **{**given, "account": given["account"] or "demo"})
    return {"public": key.public, "private": key.private.reveal()}


def _json(body: bytes) -> Fields:
    try:
        fields = msgspec.json.decode(body or b"{}")
    except msgspec.DecodeError as error:
        raise BadControl(f"the body is not JSON: {error}", "post an object, such as {}") from None
    if not isinstance(fields, dict):
        raise BadControl("the body is no JSON object", "post names and values, such as {}")
    return fields


def _known(fields: Fields, *names: str) -> None:
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise BadControl(f"{unknown[0]} is unknown here", f"expected {', '.join(names) or 'no names'}")


def _require(method: str, allowed: str) -> None:
    if method not in allowed.split(", "):
        raise HttpError(405, "Method not allowed", f"send {allowed}", headers={"Allow": allowed})
