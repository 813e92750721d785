"""Seeds: accounts with keys of one's choice, images in any state, their bytes and transitions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phimage.pytest import PhimageKeys, PhimageWorld
from tests.ci.conftest import server_of
from tests.ci.raw import get, signed
from tests.e2e.process import Phimage, Server

ACME = PhimageKeys("acme-public", "acme-private")
VIEWER = PhimageKeys("bob-public", "bob-private")
SEED = """\
phimage: 1
images:
  - {id: pimg-ub-seeded, name: Seeded base, os_type: Ubuntu, os_name: Ubuntu 22.04, size: 20, created: "2026-01-01T00:00:00Z",
     zones: [cn-bj2-02], support: {DB-2: [10G]}}
  - {id: pimg-os-acmeone, project: org-acme, name: web, os_type: Ubuntu, os_name: Ubuntu 22.04, size: 20,
     created: "2026-12-01T00:00:00Z", zones: [cn-bj2-02], support: {DB-2: [10G]}}
  - {id: pimg-os-acmetwo, project: org-acme, name: db, os_type: Ubuntu, os_name: Ubuntu 22.04, size: 20, state: Unavailable,
     created: "2026-12-02T00:00:00Z", zones: [cn-bj2-02], support: {DB-2: [10G]}}
  - {id: pimg-os-acmenew, project: org-acme, name: new, os_type: Ubuntu, os_name: Ubuntu 22.04, size: 20, state: Making,
     created: "2026-12-03T00:00:00Z", zones: [cn-bj2-02], support: {DB-2: [10G]}}
accounts:
  - id: acme
    projects:
      - {id: org-acme, default: true, quota: 1000000000}
    users:
      - {name: main, main: true, keys: [{public: acme-public, private: acme-private}]}
      - {name: bob, roles: {org-acme: viewer}, keys: [{public: bob-public, private: bob-private}]}
bytes:
  pimg-os-acmeone: text
  pimg-ub-seeded: zeros
transitions:
  pimg-os-acmenew: {time: 5m}
"""


def images(world: PhimageWorld, keys: PhimageKeys) -> dict[str, str]:
    query = signed(keys, "DescribePHostImage", Region=world.region, Zone=world.zone, ProjectId="org-acme", ImageType="Custom")
    return {each["ImageId"]: each["State"] for each in json.loads(get(f"{world.url}/?{query}").body)["ImageSet"]}


def download(world: PhimageWorld, image: str) -> bytes:
    query = signed(ACME, "DownloadPHostImage", ImageId=image, ProjectId="org-acme")
    return get(f"{world.url}/images/{image}.raw?{query}").body


def test_a_posted_seed_gives_accounts_images_bytes_and_transitions(world: PhimageWorld) -> None:
    before = world.state()["revision"]
    world.seed(SEED)
    assert world.state()["revision"] == before + 1
    expected = {"pimg-os-acmenew": "Making", "pimg-os-acmetwo": "Unavailable", "pimg-os-acmeone": "Available"}
    assert images(world, ACME) == images(world, VIEWER) == expected
    assert b"pimg-os-acmeone line 000042" in download(world, "pimg-os-acmeone")
    assert download(world, "pimg-ub-seeded") == bytes(8 << 20)
    world.clock.advance(minutes=5)
    assert images(world, ACME)["pimg-os-acmenew"] == "Available"
    assert b"pimg-os-acmenew line 000042" in download(world, "pimg-os-acmenew")


def test_a_seed_file_is_the_start_of_every_world(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    disk = bytes(range(256)) * 8192
    (tmp_path / "disk.raw").write_bytes(disk)
    (tmp_path / "seed.yaml").write_text(SEED.replace("acmeone: text", "acmeone: disk.raw"), "utf-8")
    with Server(Phimage(tmp_path / "home"), "ci", "--seed", str(tmp_path / "seed.yaml")) as endpoint:
        for name in ("one", "two"):
            world = PhimageWorld(server_of(endpoint), name)
            assert download(world, "pimg-os-acmeone") == disk
            assert images(world, ACME)["pimg-os-acmenew"] == "Making"
            world.reset()
            assert images(world, VIEWER)["pimg-os-acmeone"] == "Available"


def test_a_quota_of_a_seed_holds(world: PhimageWorld) -> None:
    world.seed(SEED)
    with world.operator as operator:
        quotas = operator.call("ListQuotas").fields
    assert "1000000000" in json.dumps(quotas)


REST = "name: a, os_type: a, os_name: a, size: 1, created: '2026-01-01T00:00:00Z'"
PLACE = "zone: cn-bj2-02, machine_type: DB-2, cluster: 10G"
LEVELS = [(at, at - 1 if at else "a") for at in range(40)]
"""Each is twice the one before it."""
MISTAKES = {
    "accounts: [{id: acme}]": "not exactly one project",
    "accounts: [{id: demo, projects: [{id: o, default: true}], users: [{name: m, main: true}]}]": "demo is there already",
    "accounts: [{idd: acme}]": "seed:2:13: accounts[0].idd: unknown field; did you mean id?",
    "accounts: [{id: two, projects: [{id: o, default: true}], users: [{name: m, main: true}, {name: m}]}]": "has two users m",
    "transitions: {a: &a {time: 1m}" + "".join(f", a{at}: &{at} {{x: *{was}, y: *{was}}}" for at, was in LEVELS) + "}": (
        "transitions.a39: transition: {'x': "
    ),
    "bytes: {pimg-os-nothing: text}": "there is no image pimg-os-nothing",
    "bytes: {pimg-os-db4x9tqe: ../etc/passwd}": "a posted seed names no file",
    "transitions: {pimg-os-db4x9tqe: soon}": "seed:2:33: transitions.pimg-os-db4x9tqe",
    f"images: [{{id: pimg-os-other1, project: org-no, {REST}}}]": "there is no project org-no",
    "nonsense: 1": "expected one of phimage, clusters, regions, machine_types, images, accounts, hosts, bytes, transitions",
    "acounts: []": "the seed cannot be used: seed:2:1: acounts: unknown field; did you mean accounts?",
    f"hosts: [{{name: a, {PLACE}}}, {{name: a, {PLACE}}}]": "host a is there twice",
    f"hosts: [{{name: a, {PLACE}, project: org-no}}]": "host a: there is no project org-no",
}


@pytest.mark.parametrize(("text", "reason"), MISTAKES.items(), ids=MISTAKES.values())
def test_a_seed_with_a_mistake_is_refused_with_its_place_and_changes_nothing(
    world: PhimageWorld, text: str, reason: str
) -> None:
    before = world.state()
    with pytest.raises(AssertionError) as refused:
        world.seed(f"phimage: 1\n{text}\n")
    assert reason in str(refused.value)
    assert world.state() == before


def test_a_seed_file_with_a_mistake_stops_the_start_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("phimage: 1\naccounts: [{idd: acme}]\n")
    ended = Phimage(tmp_path / "home").execute("ci", "--seed", str(tmp_path / "seed.yaml"))
    assert ended.code != 0
    assert "seed.yaml:2:13: accounts[0].idd: unknown field" in ended.err
