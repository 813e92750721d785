"""Of two things that are wrong with a request the earlier check is told (wire-protocol B5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, cycle, pairwise

import pytest

from tests.api import small
from tests.api.gateway import Gateway, Reply
from tests.api.signer import Encoding, Params, encoded, sign

LIST = "DescribePHostImage"
HOSTS = cycle(range(1, 255))
"""In networks inside and outside of what the account allows; each in turn, because wrong signatures are limited by address."""


class Draft:
    """A request while faults are put into it. Without any it is good: a list of the fenced account, in the zone and from an
    address that it may use."""

    def __init__(self) -> None:
        self.params: dict[str, str] = {"Action": LIST, "Region": "north", "Zone": "north-a"}
        self.public, self.private = small.FENCED
        self.host = next(HOSTS)
        self.client = f"192.0.2.{self.host}"
        self.signature: str | None = ""

    def send(self, gateway: Gateway, encoding: Encoding) -> Reply:
        params = {**self.params, "PublicKey": self.public}
        if self.signature is not None:
            params["Signature"] = self.signature or sign(params, self.private)
        return gateway.replay(encoded(params, encoding), client=self.client)


Fault = Callable[[Draft], None]


def no_action(draft: Draft) -> None:
    del draft.params["Action"]


def no_signature(draft: Draft) -> None:
    draft.signature = None


def unknown_key(draft: Draft) -> None:
    draft.public = "key-nobody"


def wrong_signature(draft: Draft) -> None:
    draft.signature = "0" * 40 if draft.signature is not None else None


def token(draft: Draft) -> None:
    draft.params["SecurityToken"] = "some_stoken"


def foreign_address(draft: Draft) -> None:
    draft.client = f"198.51.100.{draft.host}"


def unknown_action(draft: Draft) -> None:
    if "Action" in draft.params:
        draft.params["Action"] = "NoSuchAction"


def unknown_project(draft: Draft) -> None:
    draft.params["ProjectId"] = "org-r"  # another account's, which is as unknown as one that never was


def no_project_of_a_sub_user(draft: Draft) -> None:
    if draft.public == small.FENCED.public:
        draft.public, draft.private = small.FENCED_VIEWER


def no_role(draft: Draft) -> None:
    no_project_of_a_sub_user(draft)
    draft.params["ProjectId"] = "org-f"


def missing_parameter(draft: Draft) -> None:
    del draft.params["Region"]


def bad_value(draft: Draft) -> None:
    draft.params["Limit"] = "many"


def unknown_machine_type(draft: Draft) -> None:
    draft.params["MachineType"] = "NoSuchType"


def refused_zone(draft: Draft) -> None:
    draft.params["Zone"] = "north-b"


ORDER: list[tuple[int, list[Fault]]] = [
    (160, [no_action]),
    (170, [no_signature]),
    (172, [unknown_key]),
    (171, [wrong_signature]),
    (174, [token]),
    (294, [foreign_address]),
    (161, [unknown_action]),
    (292, [unknown_project]),
    (299, [no_project_of_a_sub_user, no_role]),
    (220, [missing_parameter]),
    (230, [bad_value, unknown_machine_type]),
    (293, [refused_zone]),
]
"""RetCodes in the order of checks, each with what brings it about."""

SAME_RANK = {292, 299}

EACH = [(code, fault) for code, faults in ORDER for fault in faults]
PAIRS = [
    (earlier, one, other)
    for (earlier, ones), (later, others) in combinations(ORDER, 2)
    if {earlier, later} != SAME_RANK
    for one in ones
    for other in others
]


def draft_with(*faults: Fault) -> Draft:
    draft = Draft()
    for fault in faults:
        fault(draft)
    return draft


def name_of(value: object) -> str:
    return str(getattr(value, "__name__", value))


def test_without_a_fault_the_request_is_good(small_gateway: Gateway) -> None:
    for encoding in Encoding:
        assert draft_with().send(small_gateway, encoding).ret_code == 0


@pytest.mark.parametrize(("code", "fault"), EACH, ids=name_of)
def test_each_fault_alone_has_its_ret_code(small_gateway: Gateway, code: int, fault: Fault) -> None:
    for encoding in Encoding:
        assert draft_with(fault).send(small_gateway, encoding).ret_code == code


@pytest.mark.parametrize(("code", "one", "other"), PAIRS, ids=name_of)
def test_of_two_faults_the_earlier_check_is_told(small_gateway: Gateway, code: int, one: Fault, other: Fault) -> None:
    assert draft_with(one, other).send(small_gateway, Encoding.FORM).ret_code == code
    assert draft_with(other, one).send(small_gateway, Encoding.FLAT).ret_code == code


def test_adjacent_checks_are_among_the_pairs() -> None:
    codes = [code for code, _ in ORDER]
    tried = {(code, next(c for c, faults in ORDER if other in faults)) for code, _, other in PAIRS}

    assert {pair for pair in pairwise(codes) if set(pair) != SAME_RANK} <= tried
    assert {(292, 220), (161, 299)} <= tried  # the neighbours of the two that share a rank


def test_with_every_fault_at_once_the_first_check_is_told(small_gateway: Gateway) -> None:
    faults = [faults[0] for _, faults in ORDER]

    for start, (code, _) in enumerate(ORDER):
        found = draft_with(*faults[start:]).send(small_gateway, Encoding.FORM).ret_code
        assert found == code or {found, code} == SAME_RANK


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Zone": "north-a", "Limit": "many"}, 220),
        ({"Region": "north", "Limit": "many"}, 220),
        ({"Region": "", "Zone": "", "Limit": "many"}, 220),
        ({"Region": "nowhere", "Zone": "north-b"}, 230),
        ({"Region": "north", "Zone": "north-b", "Cluster": "100G"}, 230),
        ({"Region": "north", "Zone": "south-a"}, 230),
    ],
    ids=str,
)
def test_all_that_is_missing_is_told_before_what_is_wrong_and_the_zone_permission_last(
    small_gateway: Gateway, params: Params, code: int
) -> None:
    assert small_gateway.ask(LIST, params, pair=small.FENCED, client=small.INSIDE).ret_code == code


@pytest.mark.parametrize("path", ["/rev/x/", "/rev/999999/", "/at/yesterday/", "/at/2999-01-01T00:00:00Z/", "/limit/x/"])
def test_who_is_calling_is_judged_before_what_the_path_asks_for(small_gateway: Gateway, path: str) -> None:
    nothing = small_gateway.send(path=path)
    stranger = small_gateway.replay(encoded({"Action": LIST, "PublicKey": "key-nobody", "Signature": "0" * 40}, path=path))
    wrong = small_gateway.replay(encoded({"Action": LIST, "PublicKey": small.ACME.public, "Signature": "0" * 40}, path=path))

    assert [nothing.ret_code, stranger.ret_code, wrong.ret_code] == [160, 172, 171]
    assert "Detail" not in stranger.fields, "nothing about the catalogue for who has no key"
    assert small_gateway.ask(LIST, {"Region": "north", "Zone": "north-a"}, pair=small.ACME, path=path).ret_code == 230
