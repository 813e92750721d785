"""Reading the parameters of a request, verbatim, from its three encodings (wire-protocol 1.1, 2.2, 2.3, B19, B21)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.errors import MissingAction, RequestError, TooLargeParam, UnavailableParam
from phimage.gateway.params import MAX_DEPTH, MAX_PARAMS, Number, Value, read_params
from phimage.gateway.signature import canonical

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

Read = Callable[[str], Mapping[str, Value]]


def form(body: str | bytes, content_type: str = FORM) -> Mapping[str, Value]:
    return read_params("POST", content_type, "", body if isinstance(body, bytes) else body.encode())


def query(text: str) -> Mapping[str, Value]:
    return read_params("GET", "", text, b"")


def from_json(body: str | bytes, content_type: str = JSON) -> Mapping[str, Value]:
    return read_params("POST", content_type, "", body if isinstance(body, bytes) else body.encode())


# which part of the request has them


def test_a_get_is_read_from_its_query() -> None:
    assert query("Action=DescribePHostImage&Region=cn-bj2") == {"Action": "DescribePHostImage", "Region": "cn-bj2"}


def test_a_post_with_a_body_is_read_from_the_body_alone() -> None:
    found = read_params("POST", FORM, "foo=bar&Action=Evil", b"Action=DescribePHostImage")

    assert found == {"Action": "DescribePHostImage"}


def test_a_json_post_is_read_from_the_body_alone_too() -> None:
    assert read_params("POST", JSON, "Action=Evil&x=1", b'{"Action":"GetRegion"}') == {"Action": "GetRegion"}


@pytest.mark.parametrize("content_type", ["", FORM, JSON])
def test_a_post_with_an_empty_body_is_read_from_its_query(content_type: str) -> None:
    assert read_params("POST", content_type, "Action=GetRegion", b"") == {"Action": "GetRegion"}


def test_a_get_ignores_a_body() -> None:
    assert read_params("GET", JSON, "Action=GetRegion", b'{"Action":"Evil"}') == {"Action": "GetRegion"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_gives_no_parameters(method: str) -> None:
    assert read_params(method, "", "", b"") == {}


# the media type


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON ;charset=UTF-8", " application/json"],
)
def test_json_is_known_by_its_media_type_alone(content_type: str) -> None:
    assert from_json('{"a":"b"}', content_type) == {"a": "b"}


@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=utf-8", FORM.upper()])
def test_a_form_is_known_by_its_media_type_alone(content_type: str) -> None:
    assert form("a=b", content_type) == {"a": "b"}
    assert form('{"a"=b', content_type) == {'{"a"': "b"}


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/octet-stream", "multipart/form-data; boundary=x", ";;"]
)
def test_a_body_of_another_type_is_json_if_it_starts_with_a_brace_and_a_form_if_not(content_type: str) -> None:
    assert form('{"a":"b"}', content_type) == {"a": "b"}
    assert form(' \r\n\t{"a":"b"}', content_type) == {"a": "b"}
    assert form("a=b", content_type) == {"a": "b"}


# form and query


@pytest.mark.parametrize("read", [form, query])
class TestForm:
    def test_blank_values_are_kept(self, read: Read) -> None:
        assert read("Zone=&ImageType=&Region=r") == {"Zone": "", "ImageType": "", "Region": "r"}

    def test_a_name_without_an_equals_sign_is_a_blank_value(self, read: Read) -> None:
        assert read("Zone&Region=r") == {"Zone": "", "Region": "r"}

    def test_a_plus_is_a_space_and_percent_is_utf8(self, read: Read) -> None:
        found = read("ImageId.0=%E9%95%9C%E5%83%8F+%2B%26%3D%2F%25~*&a+b=c%20d")

        assert found == {"ImageId.0": "镜像 +&=/%~*", "a b": "c d"}

    def test_a_public_key_with_a_bare_plus_becomes_another_key(self, read: Read) -> None:
        assert read("PublicKey=a+b") == {"PublicKey": "a b"}

    def test_text_is_kept_verbatim(self, read: Read) -> None:
        found = read("a=35.0&b=1e3&c=%20x%20&d=x=y==&e=%0A%00&f=;x;y")

        assert found == {"a": "35.0", "b": "1e3", "c": " x ", "d": "x=y==", "e": "\n\0", "f": ";x;y"}

    def test_a_stray_percent_is_a_percent(self, read: Read) -> None:
        assert read("a=%zz&b=%&c=100%") == {"a": "%zz", "b": "%", "c": "100%"}

    def test_empty_parts_are_nothing(self, read: Read) -> None:
        assert read("&a=1&&b=2&") == {"a": "1", "b": "2"}

    @pytest.mark.parametrize("text", ["a=1&a=1", "a=1&b=2&a=3", "a&a", "a=&%61="])
    def test_a_name_that_comes_twice_is_refused_by_its_name(self, read: Read, text: str) -> None:
        with pytest.raises(UnavailableParam, match=r"^Params \[a\] not available"):
            read(text)

    def test_names_that_differ_in_case_are_two_names(self, read: Read) -> None:
        assert read("zone=1&Zone=2") == {"zone": "1", "Zone": "2"}

    @pytest.mark.parametrize("text", ["a=%ff", "%ff=a", "a=%ED%A0%80", "a=%C0%80", "a=%E9%95"])
    def test_what_is_not_utf8_cannot_be_read(self, read: Read, text: str) -> None:
        with pytest.raises(MissingAction, match="not UTF-8"):
            read(text)

    def test_512_parameters_can_be_read_and_513_cannot(self, read: Read) -> None:
        assert len(read(urlencode({f"p{n}": n for n in range(MAX_PARAMS)}))) == MAX_PARAMS
        with pytest.raises(TooLargeParam, match=r"^Params \[request\] too large"):
            read(urlencode({f"p{n}": n for n in range(MAX_PARAMS + 1)}))

    def test_every_character_survives_escaping(self, read: Read) -> None:
        text = "".join(map(chr, range(0x250))) + "镜像\uffff\U0001f600\U0010ffff"

        assert read(f"a={quote(text, safe='')}") == {"a": text}
        assert read(urlencode({text: text})) == {text: text}


def test_a_form_body_may_have_raw_utf8() -> None:
    assert form("a=镜像") == {"a": "镜像"}


@pytest.mark.parametrize("body", [b"a=\xff", b"a=\xed\xa0\x80", "a=é".encode("latin-1")])
def test_a_form_body_that_is_not_utf8_cannot_be_read(body: bytes) -> None:
    with pytest.raises(MissingAction, match="the body is not UTF-8"):
        form(body)


def test_a_byte_order_mark_is_part_of_the_first_name_of_a_form() -> None:
    assert form(b"\xef\xbb\xbfAction=GetRegion") == {"\ufeffAction": "GetRegion"}


# JSON


def test_json_keeps_text_booleans_null_lists_and_objects() -> None:
    found = from_json('{"a":"x","b":true,"c":false,"d":null,"e":["x",[null]],"f":{"g":{"h":"i"}},"j":[],"k":{},"l":""}')

    assert found == {
        "a": "x",
        "b": True,
        "c": False,
        "d": None,
        "e": ["x", [None]],
        "f": {"g": {"h": "i"}},
        "j": [],
        "k": {},
        "l": "",
    }


def test_flattened_names_are_ordinary_names() -> None:
    assert from_json('{"ImageId.0":"a","ImageId.1":"b"}') == {"ImageId.0": "a", "ImageId.1": "b"}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.0", "0"),
        ("-0.0", "0"),
        ("0e5", "0"),
        ("10", "10"),
        ("-10", "-10"),
        ("100", "100"),
        ("35.0", "35"),
        ("35.00", "35"),
        ("65.722", "65.722"),
        ("0.5", "0.5"),
        ("-0.50", "-0.5"),
        ("100.0", "100"),
        ("1e-7", "0.0000001"),
        ("1E-7", "0.0000001"),
        ("1e+21", "1000000000000000000000"),
        ("1.50e1", "15"),
        ("1.5e3", "1500"),
        ("12e-1", "1.2"),
        ("9007199254740993", "9007199254740993"),
        ("0.1234567890123456789012345678901234567890", "0.123456789012345678901234567890123456789"),
        ("1e400", "1" + "0" * 400),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_a_json_number_is_plain_decimal_text_and_never_a_float(number: str, text: str) -> None:
    found = from_json(f'{{"a":{number}}}')["a"]

    assert found == text
    assert isinstance(found, Number)


@pytest.mark.parametrize("number", ["1e401", "1e-401", "1e999999999", "1e99999999999999999999", "-1e-99999999999999999999"])
def test_a_number_that_no_client_sends_is_refused_before_it_is_written_out(number: str) -> None:
    with pytest.raises(MissingAction, match="a number is out of range"):
        from_json(f'{{"a":{number}}}')


def test_text_that_looks_like_a_number_stays_text() -> None:
    assert from_json('{"a":"35.0"}') == {"a": "35.0"}
    assert not isinstance(from_json('{"a":"35"}')["a"], Number)


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "{}{}",
        '{"a":1,}',
        "{'a':1}",
        '{"a":01}',
        '{"a":.5}',
        '{"a":+1}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":"\n"}',
        '{"a":"\\x"}',
        "[]",
        "null",
        "1",
        '"Action=GetRegion"',
        "a=b",
    ],
)
def test_what_is_not_a_json_object_cannot_be_read(body: str) -> None:
    if not body:
        assert from_json(body) == {}  # an empty body is none
        return
    with pytest.raises(MissingAction) as caught:
        from_json(body)
    assert caught.value.ret_code == 160
    assert caught.value.message == "Missing Action"


@pytest.mark.parametrize("content_type", [JSON, "", FORM])
def test_json_with_a_byte_order_mark_is_not_an_action(content_type: str) -> None:
    try:
        found = form(b'\xef\xbb\xbf{"Action":"GetRegion"}', content_type)
    except MissingAction:
        return
    assert "Action" not in found


@pytest.mark.parametrize("body", [b'{"a":"\xff"}', b'{"\xff":"a"}', b'{"a":"\xed\xa0\x80"}', '{"a":"é"}'.encode("latin-1")])
def test_json_that_is_not_utf8_cannot_be_read(body: bytes) -> None:
    with pytest.raises(MissingAction, match="the body is not UTF-8"):
        from_json(body)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_in_another_encoding_cannot_be_read(encoding: str) -> None:
    with pytest.raises(MissingAction):
        from_json('{"Action":"GetRegion"}'.encode(encoding))


@pytest.mark.parametrize(
    "body",
    [
        r'{"a":"\ud800"}',
        r'{"a":"x\uDFFFy"}',
        r'{"\udc00":"a"}',
        r'{"a":["b",{"c":"\udead"}]}',
        r'{"a":{"\ud9ab":1}}',
        r'{"a":"\ude00\ud83d"}',
    ],
)
def test_half_of_a_surrogate_pair_cannot_be_read_because_it_cannot_be_signed(body: str) -> None:
    with pytest.raises(MissingAction, match="half of a surrogate pair"):
        from_json(body)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert from_json(r'{"a":"\ud83d\ude00","b":"\uD83D\uDE00"}') == {"a": "\U0001f600", "b": "\U0001f600"}


def test_an_escaped_backslash_before_ud800_is_just_text() -> None:
    assert from_json(r'{"a":"\\ud800"}') == {"a": r"\ud800"}


def test_the_escapes_of_other_clients_are_the_same_text() -> None:
    assert from_json(r'{"a":"\u0026\u003d\u003c","b":"\/path","c":"\u955c\u50cf"}') == {"a": "&=<", "b": "/path", "c": "镜像"}


@pytest.mark.parametrize("body", ['{"a":1,"a":1}', '{"a":1,"b":2,"a":null}', '{"b":{"a":1,"a":2}}', r'{"a":1,"\u0061":2}'])
def test_a_json_name_that_comes_twice_is_refused_by_its_name(body: str) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[a\] not available"):
        from_json(body)


def test_512_json_parameters_can_be_read_and_513_cannot() -> None:
    assert len(from_json(json.dumps({f"p{n}": n for n in range(MAX_PARAMS)}))) == MAX_PARAMS
    with pytest.raises(TooLargeParam, match=r"^Params \[request\] too large"):
        from_json(json.dumps({f"p{n}": n for n in range(MAX_PARAMS + 1)}))


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 600, 900, 3_000])
def test_deep_nesting_is_too_large_at_every_depth(opening: str, closing: str, depth: int) -> None:
    with pytest.raises(TooLargeParam, match="deep"):
        from_json(f'{{"a":{opening * (depth - 1)}1{closing * (depth - 1)}}}')


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_what_may_be_nested_can_be_signed(opening: str, closing: str) -> None:
    found = from_json(f'{{"a":{opening * (MAX_DEPTH - 1)}"x"{closing * (MAX_DEPTH - 1)}}}')

    assert canonical(found).endswith("x")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert from_json('{"a":[' + ",".join(["[]"] * 1000) + "]}") == {"a": [[]] * 1000}


@pytest.mark.parametrize("body", ["[" * 60_000, '{"a":' * 10_000, '{"a":' + "[" * 60_000])
def test_deep_nesting_that_never_closes_is_refused_as_well(body: str) -> None:
    with pytest.raises(RequestError):
        from_json(body)


@pytest.mark.parametrize("values", ["1," * 5000 + "1", "[]," * 3000 + "1", "{}," * 3000 + "1"])
def test_json_of_a_stranger_has_a_limited_number_of_values(values: str) -> None:
    body = f'{{"a":[{values}]}}'.encode()

    with pytest.raises(TooLargeParam, match="commas and brackets"):
        read_params("POST", "application/json", "", body)
    found = read_params("POST", "application/json", "", body, is_verified=True)["a"]
    assert isinstance(found, list)
    assert len(found) > 3000


@given(st.text(st.sampled_from("ab=&+%;.4e1f\x00 é中#"), max_size=24))
def test_a_form_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        pairs = []
        with pytest.raises(MissingAction):
            query(text)
    if len(dict(pairs)) != len(pairs):
        with pytest.raises(UnavailableParam):
            query(text)
    elif pairs:
        assert query(text) == dict(pairs)
