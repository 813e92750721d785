"""Every rule, against the SDK and over bare sockets, with exact numbers of attempts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from ucloud.core import exc

from phimage.demo_disk import make_disk
from phimage.errors import Refused, Unreachable
from phimage.pytest import PhimageKeys, PhimageWorld
from tests.ci.raw import SECONDS, Arrived, get, listing, signed
from tests.e2e.process import wait_until

DISK = "pimg-os-web7k2ma"
PUBLISH: dict[str, Any] = {
    "Name": "made",
    "OsType": "Ubuntu",
    "OsName": "Ubuntu 22.04",
    "Zone": ["cn-bj2-02"],
    "Support": ["DB-2"],
    "ImageType": "Base",
    "TrustFirstUse": True,
}


def ret_codes(world: PhimageWorld, action: str = "DescribePHostImage") -> list[int | None]:
    return [call.ret_code for call in world.journal(action)]


def ask_sdk(world: PhimageWorld, url: str = "", retries: int = 3) -> int:
    """The images of a list by the SDK, which repeats what may pass."""
    client = world.client(base_url=url or world.url, max_retries=retries, timeout=60)
    answer: dict[str, Any] = client.uphost().describe_phost_image({"Zone": world.zone})
    return int(answer["TotalCount"])


def published(world: PhimageWorld) -> int:
    """Images of the name that PUBLISH gives, by the state of the database."""
    return sum(image["project"] == "" and image["state"] == "Making" for image in world.state()["images"])


def test_a_ret_code_strikes_the_first_requests_of_its_action_alone(world: PhimageWorld) -> None:
    world.fault("ret-153", action="DescribePHostImage", first=2)
    for expected in (153, 153, 0):
        assert json.loads(get(f"{world.url}/?{listing(world)}").body)["RetCode"] == expected
    regions = get(f"{world.url}/?{signed(world.keys, 'GetRegion')}")
    assert json.loads(regions.body)["RetCode"] == 0
    assert ret_codes(world) == [153, 153, 0]
    assert [call.faults for call in world.journal("GetRegion")] == [[]]


def test_the_sdk_raises_a_ret_code_and_succeeds_at_the_next_attempt(world: PhimageWorld) -> None:
    world.fault("ret-153", first=1)
    with pytest.raises(exc.RetCodeException) as refused:
        ask_sdk(world)
    assert refused.value.code == 153
    assert ask_sdk(world) > 25
    assert ret_codes(world) == [153, 0]


def test_a_ret_code_never_changes_anything_and_is_named_in_the_header(world: PhimageWorld) -> None:
    world.fault("ret-150", action="PublishPHostImage", first=1)
    before = world.state()["revision"]
    with world.operator as operator, pytest.raises(Refused) as refused:
        operator.call("PublishPHostImage", **PUBLISH)
    assert refused.value.ret_code == 150
    assert world.state()["revision"] == before
    with world.operator as operator:
        operator.call("PublishPHostImage", **PUBLISH)
    assert world.state()["revision"] == before + 1
    assert ret_codes(world, "PublishPHostImage") == [150, 0]


def test_an_answer_that_a_fault_touched_says_so(world: PhimageWorld) -> None:
    answer = get(f"{world.url_with('ret-150:nth=1')}/?{listing(world)}")
    assert "x-phimage-fault: ret-150:nth=1" in answer.header
    assert "x-phimage-fault" not in get(f"{world.url_with('ret-150:nth=1')}/?{listing(world)}").header


def test_a_ret_code_comes_after_the_signature_as_in_production(world: PhimageWorld) -> None:
    world.fault("ret-153", first=1)
    wrong = PhimageKeys(world.keys.public, "not the key")
    answer = json.loads(get(f"{world.url}/?{signed(wrong, 'GetRegion')}").body)
    assert answer["RetCode"] == 171
    assert "likely difference" in answer["Message"]
    assert json.loads(get(f"{world.url}/?{signed(world.keys, 'GetRegion')}").body)["RetCode"] == 153
    assert [call.signature for call in world.journal()] == ["wrong", "good"]


@pytest.mark.parametrize(("turn", "struck"), [("every=2", [0, 1, 0, 1]), ("nth=3", [0, 0, 1, 0]), ("first=1", [1, 0, 0, 0])])
def test_rules_strike_by_number_and_never_by_chance(world: PhimageWorld, turn: str, struck: list[int]) -> None:
    url = world.url_with(f"http-502@DescribePHostImage:{turn}")
    assert [int(get(f"{url}/?{listing(world)}").status == 502) for _ in struck] == struck


def test_a_status_of_a_proxy_carries_nothing_out(world: PhimageWorld) -> None:
    world.fault("http-502", action="PublishPHostImage")
    with world.operator as operator, pytest.raises(Unreachable, match="HTTP 502"):
        operator.call("PublishPHostImage", **PUBLISH)
    assert published(world) == 0
    assert [(call.status, call.ret_code, call.signature) for call in world.journal("PublishPHostImage")] == [
        (502, None, "unchecked")
    ]


@pytest.mark.parametrize("rule", ["lost", "reset"])
def test_the_sdk_makes_one_attempt_and_raises_when_its_connection_is_reset(world: PhimageWorld, rule: str) -> None:
    url = world.url_with(f"{rule}:first=1")
    with pytest.raises(requests.ConnectionError):
        ask_sdk(world, url)
    assert ask_sdk(world, url) > 25
    calls = world.journal("DescribePHostImage")
    assert [call.faults for call in calls] == [[f"{rule}:first=1"], []]
    assert [call.ret_code for call in calls] == [None, 0]


def test_the_sdk_repeats_after_the_status_of_a_proxy_until_it_has_an_answer(world: PhimageWorld) -> None:
    assert ask_sdk(world, world.url_with("http-502:first=2"), retries=3) > 25
    assert [(call.status, call.ret_code) for call in world.journal()] == [(502, None), (502, None), (200, 0)]


def test_the_sdk_gives_up_on_a_request_that_hangs(world: PhimageWorld) -> None:
    client = world.client(base_url=world.url_with("hang:first=1"), max_retries=0, timeout=1)
    with pytest.raises(requests.ReadTimeout):
        client.uphost().describe_phost_image({"Zone": world.zone})
    wait_until(lambda: bool(world.journal()), SECONDS)
    assert ask_sdk(world, world.url_with("hang:first=1")) > 25


@pytest.mark.parametrize(
    ("rule", "error"),
    [("cut-100", requests.exceptions.ChunkedEncodingError), ("flip-0", exc.InvalidResponseException)],
)
def test_the_sdk_makes_one_attempt_and_raises_when_an_answer_is_damaged(
    world: PhimageWorld, rule: str, error: type[Exception]
) -> None:
    url = world.url_with(f"{rule}:first=1")
    with pytest.raises(error):
        ask_sdk(world, url)
    assert ask_sdk(world, url) > 25
    assert ret_codes(world) == [0, 0]


@pytest.mark.parametrize("rule", ["delay-300ms", "slow-20KiB"])
def test_the_sdk_waits_for_a_late_or_slow_answer_in_one_attempt(world: PhimageWorld, rule: str) -> None:
    began = time.monotonic()
    assert ask_sdk(world, world.url_with(rule)) > 25
    assert time.monotonic() - began >= 0.2
    assert ret_codes(world) == [0]


def test_a_lost_answer_leaves_the_change_and_its_repetition_with_the_same_token_adds_none(world: PhimageWorld) -> None:
    world.fault("lost", action="PublishPHostImage", nth=1)
    with world.operator as operator, pytest.raises(Unreachable):
        operator.call("PublishPHostImage", Token="once", **PUBLISH)
    assert published(world) == 1
    revision = world.state()["revision"]
    with world.operator as operator:
        again = operator.call("PublishPHostImage", Token="once", **PUBLISH).fields
    assert world.state()["revision"] == revision
    assert again["State"] == "Waiting"
    assert published(world) == 1


def test_a_reset_and_a_lost_answer_end_with_a_reset_and_without_a_byte(world: PhimageWorld) -> None:
    for rule in ("reset", "lost"):
        assert get(f"{world.url_with(rule)}/?{listing(world)}") == Arrived(b"", True)
    assert [call.signature for call in world.journal()] == ["unchecked", "good"]


def test_a_request_that_hangs_gets_nothing_until_its_client_leaves(world: PhimageWorld) -> None:
    with pytest.raises(TimeoutError):
        get(f"{world.url_with('hang')}/?{listing(world)}", 0.2)
    wait_until(lambda: bool(world.journal()), SECONDS)
    assert [(call.status, call.faults) for call in world.journal()] == [(None, ["hang"])]


def test_a_delayed_answer_is_late_and_whole(world: PhimageWorld) -> None:
    began = time.monotonic()
    answer = get(f"{world.url_with('delay-300ms')}/?{listing(world)}")
    assert time.monotonic() - began >= 0.3
    assert json.loads(answer.body)["RetCode"] == 0


def disk_url(world: PhimageWorld, *rules: str) -> str:
    query = signed(world.keys, "DownloadPHostImage", ImageId=DISK, ProjectId=world.project)
    return f"{world.url_with(*rules)}/images/{DISK}.raw?{query}"


def test_a_body_that_is_cut_announces_its_length_and_ends_early(world: PhimageWorld) -> None:
    answer = get(disk_url(world, "cut-1MiB"))
    assert not answer.reset
    assert f"content-length: {len(make_disk())}" in answer.header
    assert answer.body == make_disk()[: 1 << 20]


def test_a_flipped_byte_is_the_only_difference(world: PhimageWorld) -> None:
    body, disk = get(disk_url(world, "flip-1100000@images:nth=1")).body, make_disk()
    assert len(body) == len(disk)
    assert [at for at, (sent, kept) in enumerate(zip(body, disk, strict=True)) if sent != kept] == [1_100_000]
    assert get(disk_url(world, "flip-1100000@images:nth=1")).body == disk


def test_a_slow_body_takes_its_time(world: PhimageWorld) -> None:
    began = time.monotonic()
    assert get(disk_url(world, "slow-16MiB")).body == make_disk()
    assert time.monotonic() - began > 0.4


def test_a_download_meets_the_faults_of_the_url_that_named_it(world: PhimageWorld, tmp_path: Path) -> None:
    faulty = world.url_with("flip-4096@images:first=1")
    client = world.client(base_url=faulty)
    answer = client.invoke("GetPHostImageDownloadUrl", {"ImageId": DISK})
    assert answer["RawUrl"].startswith(f"{faulty}/images/")
    assert get(answer["RawUrl"]).body != make_disk()
    assert get(answer["RawUrl"]).body == make_disk()


def test_two_users_of_one_world_meet_the_faults_of_their_own_urls(world: PhimageWorld) -> None:
    first, second = (world.url_with("ret-153:nth=1"), world.url_with("ret-153:nth=1", "delay-1ms"))
    codes = [json.loads(get(f"{url}/?{listing(world)}").body)["RetCode"] for url in (first, second, world.url)]
    assert codes == [153, 153, 0]


def test_pins_go_on_working_behind_worlds_and_faults(world: PhimageWorld) -> None:
    answer = get(f"{world.url_with('delay-1ms')}/rev/2/limit/3/?{listing(world)}")
    assert "x-phimage-revision: 2" in answer.header
    assert len(json.loads(answer.body)["ImageSet"]) == 3


def test_a_rule_that_cannot_be_used_is_refused_with_what_is_expected(world: PhimageWorld) -> None:
    for rule, remedy in (("ret-999", "153"), ("cut", "cut-1MiB"), ("explode", "lost"), ("ret-153:first=0", "from 1")):
        answer = get(f"{world.url_with(rule)}/?{listing(world)}")
        assert answer.status == 400
        assert remedy in json.loads(answer.body)["Detail"]
