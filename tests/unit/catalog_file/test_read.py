"""A catalogue file is read as its types say, and every error is reported with its line, all at once."""

from __future__ import annotations

from inspect import signature

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phimage.catalog_file import starter
from phimage.catalog_file.document import Document
from phimage.catalog_file.errors import MAX_ERRORS, FileError
from phimage.catalog_file.read import read
from tests.torture.length import examples

WHOLE = """\
phimage: 1
clusters:
  - {id: 25G, description: smart network card, default: true}
regions:
  - id: cn-bj2
    number: 1000002
    name: {zh: 华北（北京2）, en: North China}
    default: true
    zones:
      - {id: cn-bj2-02, name: {zh: 可用区B, en: Zone B}}
machine_types:
  - id: DB-2
    name: {zh: 数据库型, en: Database}
    disk_class: LocalDisk
    cpu: {model: Intel Silver 4110, frequency: 2.10, count: 2, cores: 32}
    memory: 64
    disks:
      - {role: system, type: SAS, size: 1200, count: 2, raid: RAID1}
    offers:
      cn-bj2-02: {25G: 3}
images:
  - id: pimg-cs-xev4rz
    name: no
    family: centos-7
    os_type: CentOS
    os_name: CentOS 7.9 64位
    version: 8.10
    size: 20
    created: 2020-12-15T03:20:00Z
    zones: [cn-bj2-02]
    support: {DB-2: [25G]}
"""


def document(text: str) -> Document:
    reading = read(text)
    assert reading.errors == ()
    assert reading.document is not None
    return reading.document


def errors(text: str) -> list[tuple[int, str, str]]:
    return [(error.line, error.field, error.message) for error in read(text).errors]


def only(text: str) -> FileError:
    found = read(text).errors
    assert len(found) == 1, found
    return found[0]


def changed(old: str, new: str) -> str:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def test_the_starter_catalogue_has_no_errors() -> None:
    assert document(starter()).images


def test_a_text_is_what_is_written_and_never_a_number_a_date_or_a_truth_value() -> None:
    image = document(WHOLE).images[0]

    assert (image.name, image.version, image.created) == ("no", "8.10", "2020-12-15T03:20:00Z")
    assert document(WHOLE).machine_types[0].cpu.frequency == "2.10"


def test_quotes_and_block_styles_give_the_same_text() -> None:
    for written in ('"8.10"', "'8.10'", "|-\n      8.10", ">-\n      8.10"):
        assert document(changed("8.10", written)).images[0].version == "8.10"


def test_an_absent_field_has_its_default() -> None:
    image = document(WHOLE).images[0]

    assert (image.description, image.state, image.deprecated) == ("", "Available", False)
    assert document("phimage: 1") == Document(phimage=1)


@pytest.mark.parametrize("nothing", ["", "~", "null", "Null", "NULL"])
def test_nothing_is_the_default_of_a_field_that_has_one(nothing: str) -> None:
    image = document(changed("version: 8.10", f"version: {nothing}")).images[0]
    kind = document(
        changed("    offers:\n      cn-bj2-02: {25G: 3}", f"    offers: {nothing}\n    gpu: {nothing}")
    ).machine_types[0]

    assert image.version == ""
    assert (kind.offers, kind.gpu) == ({}, None)


def test_nothing_is_an_error_where_a_value_is_needed() -> None:
    error = only(changed("os_type: CentOS", "os_type: null"))

    assert (error.line, error.field) == (25, "images[0].os_type")
    assert error.message == "expected a text (distribution family: CentOS, Ubuntu, Windows, ...); found nothing"


def test_the_word_null_between_quotes_is_a_text() -> None:
    assert document(changed("os_type: CentOS", 'os_type: "null"')).images[0].os_type == "null"


def test_comments_anchors_and_aliases_are_read() -> None:
    text = changed("zones: [cn-bj2-02]", "zones: &everywhere [cn-bj2-02]  # for all")
    text += """\
  - id: pimg-cs-second
    name: Second
    family: centos-7
    os_type: CentOS
    os_name: CentOS
    size: 20
    created: 2020-12-15T03:20:00Z
    zones: *everywhere
"""
    first, second = document(text).images

    assert first.zones == second.zones == ("cn-bj2-02",)


def test_a_mark_at_the_beginning_and_windows_line_ends_do_not_matter() -> None:
    assert document("\ufeff" + WHOLE.replace("\n", "\r\n")) == document(WHOLE)


def test_all_errors_are_reported_at_once_from_top_to_bottom() -> None:
    text = """\
phimage: 1
clusters:
  - {id: 25 G, default: yes}
regions:
  - id: cn-bj2
    number: 0x10
    name: {zh: 北京}
    zones: cn-bj2-02
machine_types:
  - id: DB-2
    name: {zh: 数据库型, en: Database}
    disk_class: Floppy
    cpu: {model: Intel, frequency: fast, count: 65, cores: 32}
    memory: 64
images:
  - id: CentOS
    nmae: CentOS
    family: centos-7
    os_type: ""
    os_name: CentOS
    state: Ready
    size: "20"
    created: yesterday
    zones: [[a]]
"""

    expected = [
        (3, "clusters[0].id", "expected a text of the form ^[A-Za-z0-9]"),
        (3, "clusters[0].default", 'expected true or false; found "yes"'),
        (6, "regions[0].number", 'expected a whole number from 1 to 2147483647; found "0x10"'),
        (7, "regions[0].name.en", "missing; expected the name in English"),
        (8, "regions[0].zones", 'expected a list (zones of the region); found "cn-bj2-02"'),
        (12, "machine_types[0].disk_class", 'expected one of CloudDisk, LocalDisk; found "Floppy"'),
        (13, "machine_types[0].cpu.frequency", "expected a text of the form "),
        (13, "machine_types[0].cpu.count", 'expected a whole number from 1 to 64; found "65"'),
        (16, "images[0].id", "expected a text of the form ^pimg-"),
        (17, "images[0].nmae", "unknown field; did you mean name?"),
        (19, "images[0].os_type", "expected a text of 1 or more characters (distribution family: "),
        (21, "images[0].state", 'expected one of Available, Making, Unavailable; found "Ready"'),
        (22, "images[0].size", 'expected a whole number from 0 to 2147483647; found the text "20"'),
        (23, "images[0].created", "expected a text of the form "),
        (24, "images[0].zones[0]", "expected a text; found a list"),
    ]
    found = errors(text)
    assert [(line, field) for line, field, _ in found] == [(line, field) for line, field, _ in expected]
    for (_, _, message), (_, _, beginning) in zip(found, expected, strict=True):
        assert message.startswith(beginning)


def test_a_text_of_the_wrong_form_is_reported_with_the_form_an_example_and_what_was_found() -> None:
    assert only(changed("id: 25G", "id: 25 G")).message == (
        'expected a text of the form ^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$ (name of the cluster, such as 25G); found "25 G"'
    )


def test_an_error_stands_where_the_value_does() -> None:
    error = only(changed("    size: 20", "    size:   many"))

    assert (error.line, error.column, error.field) == (28, 13, "images[0].size")


@pytest.mark.parametrize(
    ("written", "reported"),
    [
        ("-1", "expected a whole number from 0 to 2147483647"),
        ("2147483648", "expected a whole number from 0 to 2147483647"),
        ("9" * 5000, "expected a whole number"),
        ("1e3", "expected a whole number"),
        ("20.0", "expected a whole number"),
        ("020", "expected a whole number"),
        ("2_0", "expected a whole number"),
        ("２０", "expected a whole number"),
        ("[20]", "found a list"),
        ("{a: 20}", "found names and values"),
    ],
)
def test_a_number_is_a_whole_decimal_one_within_its_limits(written: str, reported: str) -> None:
    error = only(changed("size: 20", f"size: {written}"))

    assert error.field == "images[0].size"
    assert reported in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("written", ["yes", "on", "1", '"true"', "tRUE"])
def test_a_truth_value_is_true_or_false(written: str) -> None:
    assert only(changed("    size: 20", f"    size: 20\n    deprecated: {written}")).message.startswith(
        "expected true or false"
    )


def test_a_text_has_a_greatest_length() -> None:
    assert only(changed("name: no", f"name: {'n' * 129}")).message == "expected a text of at most 128 characters; found 129"


def test_digits_of_other_scripts_and_a_line_end_do_not_pass_a_pattern() -> None:
    assert only(changed("2020-12-15T", "２０２０-12-15T")).field == "images[0].created"
    assert only(changed("id: DB-2", 'id: "DB-2\\n"')).field == "machine_types[0].id"


@pytest.mark.parametrize("format", ["2", '"1"', "one", "[1]", ""])
def test_another_format_of_the_file_is_refused(format: str) -> None:
    assert only(f"phimage: {format}").message.startswith("expected 1; found")


def test_an_unknown_field_is_reported_with_what_could_be_meant() -> None:
    assert errors("phimage: 1\nimage: []\nowner: me") == [
        (2, "image", "unknown field; did you mean images?"),
        (3, "owner", "unknown field; expected one of phimage, clusters, regions, machine_types, images"),
    ]


def test_a_field_given_twice_is_reported_with_both_lines() -> None:
    error = only(changed("    size: 20", "    size: 20\n    size: 30"))

    assert (error.line, error.field, error.message) == (29, "images[0].size", "given twice, first in line 28")


def test_a_machine_type_given_twice_under_support_is_reported() -> None:
    assert only(changed("{DB-2: [25G]}", "{DB-2: [25G], DB-2: []}")).field == "images[0].support.DB-2"


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n", "---\n", "~"])
def test_an_empty_file_is_an_error(text: str) -> None:
    assert only(text).message == "expected names and values, such as phimage: 1; found nothing"


@pytest.mark.parametrize(("text", "reported"), [("[1, 2]", "a list"), ("phimage", '"phimage"')])
def test_a_file_of_another_shape_is_an_error(text: str, reported: str) -> None:
    assert only(text).message == f"expected names and values, such as phimage: 1; found {reported}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("phimage: 1\nimages: [", 3),
        ("phimage: 1\nimages: ]", 2),
        ("phimage: 1\n\tclusters: []", 2),
        ("phimage: 1\nname: a: b", 2),
        ('phimage: 1\nname: "a', 2),
        ("phimage: 1\n  images: []", 2),
        ("%YAML 9.9\n---\nphimage: 1", 1),
        ("@", 1),
    ],
)
def test_what_is_not_yaml_is_reported_with_its_line(text: str, line: int) -> None:
    error = only(text)

    assert error.message.startswith("this is not YAML: ")
    assert error.line == line


@pytest.mark.parametrize(
    ("character", "name"),
    [("\x00", "U+0000"), ("\x1b", "U+001B"), ("\ud800", "U+D800"), ("\uffff", "U+FFFF")]
    + [(chr(code), f"U+{code:04X}") for code in (0x7F, 0x85, 0x9B, 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0x202E, 0x2066)],
)
def test_a_character_that_yaml_cannot_carry_is_reported_with_its_place(character: str, name: str) -> None:
    error = only(changed("name: no", f"name: n{character}o"))

    assert (error.line, error.column) == (23, 12)
    assert error.message.startswith(f"{name} is not allowed in a catalogue file")


def test_a_comment_has_no_bidirectional_characters_either() -> None:
    error = only(changed("name: no", "name: no  # \u202e"))

    assert error.message == "U+202E is not allowed in a catalogue file; remove it"


@pytest.mark.parametrize("escape", ["\\e", "\\x7f", "\\x9b", "\\u061c", "\\L", "\\u202e", "\\u2069", "\\t", "\\n", "\\r"])
def test_a_name_has_no_control_characters_not_even_as_escapes(escape: str) -> None:
    error = only(changed("name: no", f'name: "n{escape}o"'))

    assert (error.line, error.message[:24]) == (23, "a text cannot contain U+")


@pytest.mark.parametrize(
    ("escape", "allowed"), [("\\t", True), ("\\n", True), ("\\r", False), ("\\e", False), ("\\u202e", False)]
)
def test_a_description_may_have_tabs_and_line_feeds(escape: str, allowed: bool) -> None:
    errors = read(changed("name: no", f'name: no\n    description: "a{escape}b"')).errors

    assert [(error.line, error.field) for error in errors] == ([] if allowed else [(24, "images[0].description")])


def test_a_character_that_no_database_keeps_is_refused_even_as_an_escape() -> None:
    assert only(changed("name: no", r'name: "n\0o"')).message == "a text cannot contain U+0000"


def test_control_characters_of_a_name_never_reach_a_terminal() -> None:
    for text in (
        changed("size: 20", r'size: "\e[31m"'),
        changed("{DB-2:", r'{DB-2: [], "\e[31m": 1, "\e[32m":'),
        changed("    size", r'    "\e[31m": 1' + "\n    size"),
        changed("size: 20", "size: !%1b%5b31m 20"),
    ):
        for error in read(text).errors:
            assert "\x1b" not in error.field + error.message


def test_a_second_document_is_an_error() -> None:
    error = only("phimage: 1\n---\nphimage: 1\n")

    assert (error.line, error.message) == (2, "a second YAML document begins here; expected one")


def test_tags_are_refused_and_nothing_is_constructed() -> None:
    assert errors("phimage: !!int 1\nimages: !!python/object/apply:os.system []\n") == [
        (1, "phimage", "tags are not supported: leave out !!int"),
        (2, "images", "tags are not supported: leave out !!python/object/apply:os.system"),
    ]


def test_merge_keys_are_refused() -> None:
    assert only("phimage: 1\n<<: {images: []}").message == "merge keys are not supported: write the fields out"


def test_a_name_that_is_no_text_is_an_error() -> None:
    assert only("phimage: 1\n? [a, b]\n: {c: d}\n").message == "expected a name, found a list or a mapping"


def test_an_alias_of_nothing_and_an_alias_of_itself_are_errors() -> None:
    assert "*nowhere names nothing" in errors("phimage: 1\nimages: *nowhere")[0][2]
    assert any("*a names nothing" in message for _, _, message in errors("phimage: 1\nimages: &a [*a]"))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_an_error_and_is_found_at_once(opening: str) -> None:
    assert "more than 32 deep" in read(opening * 100_000).errors[-1].message


def test_aliases_that_multiply_are_stopped() -> None:
    names = ", ".join(["cn-bj2-02"] * 20)
    images = "".join(f"  - {{zones: {'*all' if n else f'&all [{names}]'}}}\n" for n in range(60))

    found = read(f"phimage: 1\nimages:\n{images}", max_values=1000).errors

    assert [error.message for error in found] == ["counted with its aliases, the file has more than 1,000 values"]


def test_a_file_of_too_many_values_is_stopped() -> None:
    text = f"phimage: 1\nimages: [{'a,' * 1000}]"

    assert [error.message for error in read(text, max_values=1000).errors] == ["the file has more than 1,000 values"]


def test_the_limit_of_values_is_a_million() -> None:
    assert signature(read).parameters["max_values"].default == 1_000_000


def test_of_very_many_errors_the_first_ones_are_reported() -> None:
    found = read("phimage: 1\nimages:\n" + "  - 1\n" * 3000).errors

    assert len(found) == MAX_ERRORS + 1
    assert found[-1].message == "and 2000 more errors"


@given(st.text(st.characters(exclude_categories=[]), max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    reading = read(text)

    assert (reading.document is not None) or reading.errors


@settings(max_examples=examples(60, 200), deadline=None)
@given(st.data())
def test_a_file_with_any_damage_is_read_without_an_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(start, min(len(WHOLE), start + 12)))
    damage = data.draw(st.text("[]{}:,-?&*!|>'\"%@`# \n\tax1~<\\", max_size=6))
    reading = read(WHOLE[:start] + damage + WHOLE[end:])

    assert (reading.document is not None) or reading.errors
    assert all(error.line >= 1 and error.column >= 1 and error.message for error in reading.errors)


def test_every_value_has_a_position() -> None:
    reading = read(WHOLE)

    assert reading.position(("images", 0, "support", "DB-2", 0)) == (31, 22)
    assert reading.position(("images", 0, "support", "DB-2"), at_name=True) == (31, 15)
    assert reading.position(("images",), at_name=True) == (21, 1)
    assert reading.position(("images", 0, "nothing", "there")) == (22, 5)
