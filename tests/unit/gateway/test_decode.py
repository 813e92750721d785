"""From verbatim parameters to typed requests (wire-protocol 2.4, 3.1, 5 and B1, B2, B5, B10, B22)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from phimage.errors import MissingParam, TooLargeParam, UnavailableParam
from phimage.fields import by_setting, with_controls
from phimage.gateway.decode import MAX_ELEMENTS, decode, readers_of
from phimage.gateway.params import Number, Params, Value, read_params
from phimage.model.ids import ImageId, ZoneId


class Kind(StrEnum):
    BASE = "Base"
    CUSTOM = "Custom"


class List(Struct, rename="pascal", frozen=True, kw_only=True):
    """A request with one field of each kind."""

    region: str
    zone: ZoneId | None = None
    kind: Kind | None = None
    image_id: tuple[Annotated[ImageId, Meta(max_length=8)], ...] = ()
    size: tuple[int, ...] = ()
    offset: Annotated[int, Meta(ge=0, le=1000)] = 0
    limit: Annotated[int, Meta(ge=0)] | None = None
    name: Annotated[str, Meta(max_length=5)] | None = None
    code: Annotated[str, Meta(pattern="^[a-z]+$")] = "none"
    force: bool = False
    about: Annotated[str, Meta(extra=with_controls("lines"))] = ""
    file: Annotated[str, Meta(extra=with_controls("any"))] = ""


class Strict(Struct, rename="pascal", frozen=True, kw_only=True):
    """A request that needs everything."""

    region: str
    zone: str
    limit: int
    image_id: tuple[str, ...]
    force: bool


def read(**params: Value) -> List:
    return decode(List, {"Region": "r", **params})


def ids(params: Params) -> tuple[str, ...]:
    return decode(List, {"Region": "r", **params}).image_id


def test_absent_parameters_have_their_defaults() -> None:
    assert read() == List(region="r")


@pytest.mark.parametrize("bad", [*"\x00\x07\x1b\t\n\r\x7f\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"])
@pytest.mark.parametrize("name", ["Region", "Zone", "Kind", "ImageId", "Name", "Code"])
def test_a_text_has_no_control_and_no_bidirectional_characters(name: str, bad: str) -> None:
    with pytest.raises(UnavailableParam) as refused:
        read(**{name: f"a{bad}"})

    assert refused.value.message == f"Params [{name}] not available"
    assert refused.value.detail == (
        f"a text cannot have the control character U+{ord(bad):04X}; remove it" if bad != "\0" else "expected text without NUL"
    )


def test_a_text_of_several_lines_may_have_tabs_and_line_feeds_and_a_file_any_but_nul() -> None:
    assert read(About="a\tb\nc").about == "a\tb\nc"
    assert read(File="a\r\n\u202e").file == "a\r\n\u202e"
    for name, text in (("About", "a\r"), ("About", "\u202e"), ("About", "\x1b"), ("File", "\0")):
        with pytest.raises(UnavailableParam):
            read(**{name: text})


def test_unknown_parameters_are_ignored() -> None:
    assert read(**{"base-url": "x", "region": "other", "Imageid.0": "x", "ImageId.x": "y", "ImageId.": "z"}) == List(region="r")


# lists


@pytest.mark.parametrize(
    "params",
    [
        {"ImageId.0": "a", "ImageId.1": "b"},
        {"ImageId.1": "a", "ImageId.2": "b"},
        {"ImageId.0": "a", "ImageId.7": "b"},
        {"ImageId.7": "b", "ImageId.0": "a"},
        {"ImageId.2": "a", "ImageId.10": "b"},
        {"ImageId.0": "a", "ImageId.1": "", "ImageId.2": "b"},
        {"ImageId.0": "a", "ImageId.1": None, "ImageId.2": "b"},
        {"ImageId.999999998": "a", "ImageId.999999999": "b"},
        {"ImageId.00": "a", "ImageId.01": "b"},
        {"ImageId": ["a", "b"]},
        {"ImageId": ["a", "", None, "b"]},
        {"ImageId": "a", "ImageId.0": "b"},
        {"ImageId": ["a"], "ImageId.0": "b"},
    ],
    ids=str,
)
def test_a_list_has_many_shapes(params: Params) -> None:
    assert ids(params) == ("a", "b")


@pytest.mark.parametrize("params", [{"ImageId": "a"}, {"ImageId": ["a"]}, {"ImageId.0": "a"}, {"ImageId.n": "a"}], ids=str)
def test_a_single_element_has_them_too(params: Params) -> None:
    assert ids(params) == ("a",)


@pytest.mark.parametrize(
    "params", [{}, {"ImageId": None}, {"ImageId": ""}, {"ImageId": []}, {"ImageId.0": ""}, {"ImageId": ["", None]}], ids=str
)
def test_an_empty_list_is_an_absent_one(params: Params) -> None:
    assert ids(params) == ()


@pytest.mark.parametrize(
    "name", ["ImageId.N", "ImageId.-1", "ImageId.+1", "ImageId.1.2", "ImageId.1 ", "ImageId.٣", "ImageId.1n"]
)
def test_what_is_no_index_is_another_parameter(name: str) -> None:
    assert ids({name: "a"}) == ()


def test_more_than_ten_indices_come_in_the_order_of_their_numbers() -> None:
    assert ids({f"ImageId.{n}": f"i{n}" for n in reversed(range(12))}) == tuple(f"i{n}" for n in range(12))


def test_100_elements_can_be_read_and_101_cannot() -> None:
    assert len(ids({f"ImageId.{n}": f"i{n}" for n in range(MAX_ELEMENTS)})) == MAX_ELEMENTS
    one_too_many: list[Params] = [
        {f"ImageId.{n}": "i" for n in range(MAX_ELEMENTS + 1)},
        {"ImageId": ["i"] * (MAX_ELEMENTS + 1)},
    ]
    for params in one_too_many:
        with pytest.raises(TooLargeParam, match=r"^Params \[ImageId\] too large"):
            ids(params)


def test_blank_elements_do_not_count_towards_the_limit() -> None:
    assert ids({"ImageId": ["", "a"] * MAX_ELEMENTS}) == ("a",) * MAX_ELEMENTS


@pytest.mark.parametrize(
    "params", [{"ImageId": [["a"]]}, {"ImageId.0": ["a"]}, {"ImageId": {"0": "a"}}, {"ImageId": [{"a": "b"}]}], ids=str
)
def test_an_element_that_is_itself_a_list_or_an_object_is_not_available(params: Params) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[ImageId\] not available"):
        ids(params)


def test_the_limits_of_elements_hold_for_each() -> None:
    assert ids({"ImageId.0": "12345678"}) == ("12345678",)
    with pytest.raises(TooLargeParam, match=r"^Params \[ImageId\] too large"):
        ids({"ImageId.0": "a", "ImageId.1": "123456789"})
    with pytest.raises(UnavailableParam, match=r"^Params \[Size\] not available"):
        read(**{"Size.0": "1", "Size.1": "x"})


def test_json_numbers_and_booleans_as_elements_are_their_text() -> None:
    found = read_params("POST", "application/json", "", b'{"Region":"r","ImageId":[1,2.50,true],"Size":[3,"4"]}')

    assert decode(List, found).image_id == ("1", "2.5", "true")
    assert decode(List, found).size == (3, 4)


# one value


@pytest.mark.parametrize("value", ["", None, [], {}], ids=repr)
def test_blank_null_and_empty_are_absent(value: Value) -> None:
    assert read(Zone=value, Kind=value, Offset=value, Limit=value, Name=value, Code=value, Force=value) == List(region="r")


@pytest.mark.parametrize("value", [["a"], ["a", "b"], {"a": "b"}], ids=repr)
def test_a_list_or_an_object_where_one_value_is_expected_is_not_available(value: Value) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[Zone\] not available"):
        read(Zone=value)


def test_an_index_on_a_parameter_that_is_no_list_is_another_parameter() -> None:
    assert read(**{"Zone.0": "z"}).zone is None


@pytest.mark.parametrize("value", [" ", "0", "false", "null", "镜像", " z "])
def test_text_is_kept_verbatim(value: str) -> None:
    assert read(Zone=value).zone == value


def test_json_numbers_and_booleans_are_text_where_text_is_expected() -> None:
    assert read(Zone=Number("12")).zone == "12"
    assert read(Zone=True).zone == "true"
    assert read(Zone=False).zone == "false"


# whole numbers


@pytest.mark.parametrize(
    ("text", "number"), [("10", 10), ("0", 0), ("007", 7), ("+5", 5), ("-0", 0), ("1000", 1000), (Number("10"), 10)]
)
def test_a_whole_number_is_read(text: str, number: int) -> None:
    assert read(Offset=text).offset == number


@pytest.mark.parametrize(
    "value",
    [
        "10.5",
        "10.0",
        "10.",
        "1e1",
        "1E1",
        " 5",
        "5 ",
        "5\n",
        "\t5",
        "0x10",
        "1_000",
        "1,000",
        "--5",
        "+",
        "-",
        "five",
        "٥",
        "５",
        "²",
        "1" * 20,
        "NaN",
        "null",
        Number("10.5"),
        True,
        False,
        ["5"],
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["Offset", "Limit"])
def test_anything_else_is_not_a_whole_number(name: str, value: Value) -> None:
    with pytest.raises(UnavailableParam, match=rf"^Params \[{name}\] not available"):
        read(**{name: value})


def test_numbers_in_json_are_whole_when_their_decimal_text_is() -> None:
    for text, number in (("10", 10), ("10.0", 10), ("1e1", 10)):
        found = read_params("POST", "application/json", "", f'{{"Region":"r","Offset":{text}}}'.encode())
        assert decode(List, found).offset == number


@pytest.mark.parametrize("text", ["-1", "1001", "9" * 19])
def test_a_number_out_of_its_range_is_not_available(text: str) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[Offset\] not available.*0 to 1000"):
        read(Offset=text)


def test_a_number_with_one_limit_has_no_other() -> None:
    assert read(Limit="9" * 19).limit == int("9" * 19)
    with pytest.raises(UnavailableParam, match="Limit"):
        read(Limit="-1")


# text limits, enums, booleans


def test_text_over_its_length_is_too_large() -> None:
    assert read(Name="镜像镜像镜").name == "镜像镜像镜"
    with pytest.raises(TooLargeParam, match=r"^Params \[Name\] too large.*5 characters"):
        read(Name="镜像镜像镜像")


def test_text_against_its_pattern_is_not_available() -> None:
    assert read(Code="abc").code == "abc"
    with pytest.raises(UnavailableParam, match=r"^Params \[Code\] not available"):
        read(Code="ABC")


@pytest.mark.parametrize("text", ["Custom", "custom", "CUSTOM", "cUsToM"])
def test_names_of_a_choice_are_compared_without_regard_to_case(text: str) -> None:
    assert read(Kind=text).kind is Kind.CUSTOM


@pytest.mark.parametrize("text", ["Business", "Custom ", " ", "CUSTOM_", "0", "all"])
def test_what_is_no_choice_is_not_available(text: str) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[Kind\] not available.*Base, Custom"):
        read(Kind=text)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        *((value, True) for value in ("true", "True", "yes", "1", True, Number("1"))),
        *((value, False) for value in ("false", "FALSE", "no", "0", False, Number("0"))),
    ],
)
def test_booleans_are_read_in_their_usual_words(value: Value, meaning: bool) -> None:
    assert read(Force=value).force is meaning


@pytest.mark.parametrize("value", ["on", "2", "-1", "t", " true"])
def test_other_words_are_no_booleans(value: str) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[Force\] not available"):
        read(Force=value)


# missing


WHOLE: Params = {"Region": "r", "Zone": "z", "Limit": "1", "ImageId.0": "a", "Force": "false"}


def test_nothing_is_missing_when_all_is_there() -> None:
    assert decode(Strict, WHOLE) == Strict(region="r", zone="z", limit=1, image_id=("a",), force=False)


@pytest.mark.parametrize(
    ("name", "wire"), [("Region", "Region"), ("Zone", "Zone"), ("Limit", "Limit"), ("ImageId.0", "ImageId"), ("Force", "Force")]
)
@pytest.mark.parametrize("value", ["absent", "", None, [], {}], ids=repr)
def test_a_parameter_that_is_needed_must_be_there_and_not_blank(name: str, wire: str, value: Value) -> None:
    params = {given: of for given, of in WHOLE.items() if given != name}
    if value != "absent":
        params[name] = value

    with pytest.raises(MissingParam) as caught:
        decode(Strict, params)

    assert (caught.value.ret_code, caught.value.message) == (220, f"Missing params [{wire}]")


def test_a_missing_parameter_is_reported_before_a_wrong_one() -> None:
    wrong: Params = {"Region": ["not", "text"], "Limit": "x", "ImageId.0": "a", "Force": "maybe"}

    with pytest.raises(MissingParam, match=r"\[Zone\]"):
        decode(Strict, wrong)
    with pytest.raises(UnavailableParam, match=r"\[Region\]"):
        decode(Strict, {**wrong, "Zone": "z"})


def test_missing_and_wrong_parameters_are_reported_in_the_order_of_the_request_type() -> None:
    with pytest.raises(MissingParam, match=r"\[Region\]"):
        decode(Strict, {})
    with pytest.raises(UnavailableParam, match=r"\[Limit\]"):
        decode(Strict, {**WHOLE, "Limit": "x", "Force": "maybe"})


class Chosen(Struct, frozen=True):
    """Settings of an installation."""

    need_zone: bool
    longest: int


class Bounded(Struct, rename="pascal", frozen=True, kw_only=True):
    """A request whose limits an installation chooses."""

    zone: Annotated[str, Meta(extra=by_setting(required="need_zone"))] | None = None
    limit: Annotated[int, Meta(ge=0, extra=by_setting(max="longest"))] | None = None


def test_a_setting_can_make_a_parameter_required() -> None:
    with pytest.raises(MissingParam, match=r"\[Zone\]"):
        decode(Bounded, {"Zone": ""}, Chosen(need_zone=True, longest=9))
    assert decode(Bounded, {"Zone": "z"}, Chosen(need_zone=True, longest=9)).zone == "z"
    assert decode(Bounded, {}, Chosen(need_zone=False, longest=9)).zone is None


@pytest.mark.parametrize("longest", [9, 99])
def test_a_setting_can_be_the_largest_number(longest: int) -> None:
    settings = Chosen(need_zone=False, longest=longest)

    assert decode(Bounded, {"Limit": str(longest)}, settings).limit == longest
    for wrong in (str(longest + 1), "-1", "many"):
        with pytest.raises(UnavailableParam, match=f"expected a whole number from 0 to {longest}$"):
            decode(Bounded, {"Limit": wrong}, settings)


def test_the_parameters_of_a_type_can_be_listed() -> None:
    assert [(reader.name, reader.required, reader.many) for reader in readers_of(Strict)] == [
        ("Region", True, False),
        ("Zone", True, False),
        ("Limit", True, False),
        ("ImageId", True, True),
        ("Force", True, False),
    ]
