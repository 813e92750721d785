"""The translations of the API's sentences: each sentence of the source that a page can show has one."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import cache
from typing import get_args

import pytest
from msgspec import Struct

from phimage.actions.publish import PublishPHostImage
from phimage.chunks.errors import Reason
from phimage.console.change_kinds import KINDS as CHANGES
from phimage.console.sentences import (
    MAX_ENDS,
    MAX_READS,
    MAX_SENTENCE,
    PHRASES,
    SentenceReader,
    sentences_of,
    translate,
)
from phimage.console.texts import LANGUAGES, texts_of
from phimage.errors import REQUEST_ERRORS
from phimage.fields import fields_of
from phimage.formats.finding import FETCH_AGAIN, FLATTEN, REWRITE, Finding, FindingKind
from phimage.formats.table import KINDS
from phimage.gateway.registry import Credential
from phimage.model.host import HostState
from phimage.model.image import State
from phimage.model.job import JobState
from phimage.publishing.errors import refused_for
from phimage.sources.address_policy import V4, V6
from tests.unit.console.literals import SOURCE, remarks, sentences, texts

OTHERS = LANGUAGES[1:]
CHINESE = texts_of("zh")

SHOWN = (
    *("actions", "agent", "catalog", "chunks", "console", "formats", "gateway", "http", "model", "publishing", "sources"),
    *("chunk_upload.py", "control_characters.py", "disk_hint.py", "fields.py", "gpt_header.py"),
)
"""Rooms and files whose sentences a page can show."""
NOT_SHOWN = (
    *("backup", "catalog_file", "ci", "cli", "maintenance", "processes", "reference", "rescue", "upload_client"),  # commands
    *("delivery", "uploads"),  # bytes, which no page asks for
    "metrics",
    *("__init__.py", "__main__.py", "agent_archive.py", "application.py", "client.py", "demo.py", "demo_disk.py"),
    *("demo_steps.py", "drill.py", "event_log.py", "files.py", "http_client.py", "http_signature.py", "installation.py"),
    *("json_schema.py", "lru.py", "ownership.py", "pytest.py", "revision_cache.py", "settings.py", "waiting.py"),
    *("errors.py", "zstd_frame.py"),  # the forms of errors are held by a test of their own
)
"""All others."""
FILES_NOT_SHOWN = {
    "actions/agent.py": "answers to agents",
    "actions/agent_orders.py": "answers to agents",
    "actions/authorizers.py": "answers to requests for bytes",
    "actions/catalog.py": "no page applies a catalogue file",
    "actions/topology.py": "names of disks",
    "agent/__main__.py": "a command",
    "agent/capture_command.py": "a command",
    "agent/deploy_command.py": "a command",
    "agent/disk_list.py": "a command",
    "agent/hardware.py": "no order has begun",
    "agent/progress_line.py": "a command",
    "agent/run_command.py": "a command",
    "agent/server_link.py": "the server does not answer, so it does not receive them",
    "catalog/address.py": "settings",
    "catalog/key_encryption.py": "settings",
    "catalog/lookup.py": "SQL",
    "catalog/template.py": "SQL",
    "catalog/views.py": "names of cached values",
    "console/pages/snippets.py": "programs",
    "console/rendering.py": "markup",
    "formats/ext4.py": "`hygiene.scan` says where it could not read",
    "formats/partition.py": "names of partitions",
    "formats/sandbox_child.py": "settings",
    "formats/walls.py": "settings",
    "gateway/app.py": "answers to requests over the network, which pages do not send",
    "gateway/describe.py": "documentation",
    "gateway/doctor.py": "signatures",
    "gateway/openapi.py": "documentation",
    "gateway/params.py": "the console sends well-formed requests",
    "gateway/registry.py": "defects",
    "gateway/schemas.py": "documentation",
    "http/conditions.py": "documentation",
    "model/explain.py": "a property test holds all that an explanation says",
}
"""Files of the shown rooms that pages show nothing of, and why."""
UNTRANSLATED = {
    "actions/images.py": {"{} [not published: {}]"},  # DescribePHostImage, which no page uses
    "agent/agent_run.py": {
        "enrolled as {} ({}); waiting for orders",
        "{}; trying again",
        "{}: done",
        "enroll first",
    },  # printed
    "agent/errors.py": {"RetCode {}: {}", " ({})"},  # the server refused the agent, so it does not receive it
    "agent/image_source.py": {"bytes {}-{}/"},
    "agent/prepared_deploy.py": {"the kernel did not read the partition table again: {}"},  # printed
    "agent/upload_requests.py": {
        *(
            "it cannot take it now; look at its log",
            "it gave no reason",
            "Chunks missing",
        ),  # texts of the server take their place
        "{} takes nothing more for this upload: {}; look at the state of its image",  # the order is gone
    },
    "catalog/accounts.py": {"phimage installation {}"},
    "catalog/console_sessions.py": {"SELECT key, started, used FROM console_session WHERE digest = :digest LIMIT :max_rows"},
    "catalog/engine.py": {
        "the database {}",
        "SELECT set_config('lock_timeout', '{}ms', true), set_config('idle_in_transaction_session_timeout', '{}s', true)",
    },
    "catalog/waits.py": {"starting up", "shutting down", "too many", "recovery mode", "remaining connection slots"},  # read
    "chunks/decorators.py": {"the store {}"},  # commands
    "chunks/folder.py": {"folder {}"},
    "chunks/object_store.py": {" at {}"},
    "chunks/scrub.py": {"chunks of {} places on the disk are not in the store"},  # a command
    "console/app.py": {"console forms", "public, max-age=31536000, immutable"},
    "console/catalog_sessions.py": {"console sign-in"},
    "formats/reader.py": {"{} is neither a regular file nor a block device"},  # files of publications are regular
    "formats/finding.py": {FETCH_AGAIN, REWRITE, FLATTEN},  # documentation
    "formats/hygiene.py": {"a file system without files"},  # `scan` says where it could not read
    "publishing/errors.py": {"--override {}"},
    "sources/checksums.py": {"{} bits"},
    "sources/source.py": {"standard input"},  # commands
}
"""Other texts that stay English, or are none."""
FRAGMENTS = {
    "actions/hosts.py": {"{} does not offer {} on {}", "{}: correct one of them, or add the offer"},
    "actions/params.py": {" and {} more"},
    "agent/block_device.py": {
        *("check the path", "run this as root", "it is read-only", "it has no medium"),
        "something holds it: unmount its file systems, and stop its swap, RAID and volume groups",
    },
    "agent/captured_disk.py": {
        "{}: sector {} (LBA, byte {}) cannot be read; {}",
        "an image would lack its bytes: see `smartctl -a {}` and dmesg, and replace the disk",
    },
    "agent/disk_choice.py": {"it has "},
    "agent/image_source.py": {
        "the chunk at byte {} of the image",
        "{} arrived damaged {} times: {}; {}",
        "`phimage image verify` shows whether the store is damaged; otherwise something on the way is",
    },
    "chunks/errors.py": {" ({})"},
    "chunks/uploads.py": {"too many", "of a wrong size"},
    "chunks/write.py": {" of {}", "the disk ended after {}{} bytes"},
    "fields.py": {"{} to {}", "at least {}", "at most {}"},
    "formats/hygiene.py": {
        *(" and {} more", "in partition {}", "on the whole disk"),
        "{} {}, which is damaged or too large to scan",
    },
    "gateway/access.py": {
        "the signature is {} seconds {}",
        "{}, and at most {} are allowed: compare your clock with ServerTime",
    },
    "gateway/dispatch.py": {
        "this is phimage, the image service of a bare metal cloud",
        "{}; /openapi.json lists its Actions, and /console/ shows it to people",
    },
    "model/host.py": {"it is {}: ", "wait until its disk is clean", "release it again to clean its disk"},
    "model/job.py": {"cancelled by "},
    "publishing/errors.py": {" (if that is meant, an operator can publish it with {})"},
    "sources/checksums.py": {", only for {}", " and {} more"},
    "sources/errors.py": {"at byte {}", " ({})"},
}
"""Pieces of which the source composes sentences: a sentence of the file has their words."""
COMPOSED = {
    "the newest version of its family",
    "ask for one of none: the image supports no machine type",
    *("a whole number of at least {min:number}", "a whole number of at most {max:number}"),
    *("{kind:word} in partition {number:number}", "{kind:word} on the whole disk"),
    "{kind:word} in partition {number:number}, which is damaged or too large to scan",
    "{kind:word} on the whole disk, which is damaged or too large to scan",
    "the chunk at byte {offset:number} of the image arrived damaged {tries:number} times: {damage:sentence}; "
    "`phimage image verify` shows whether the store is damaged; otherwise something on the way is",
}
"""Sentences that the source joins within a clause."""
OF_OTHERS = re.compile(
    r"Connection |Network is|No route|Broken pipe|No space left|No such file|Permission denied|Input/output|Read-only|"
    r"device or resource|no such file or|permission denied|read-only file system|no medium| has host bits| does not appear"
)
"""Texts of the operating system and of Python that stand in sentences."""


def test_each_room_is_one_whose_sentences_pages_show_or_do_not() -> None:
    names = {path.name for path in SOURCE.iterdir()} - {"__pycache__", "py.typed"}

    assert set(SHOWN) | set(NOT_SHOWN) == names
    assert [name for name in (*FILES_NOT_SHOWN, *UNTRANSLATED, *FRAGMENTS) if not (SOURCE / name).exists()] == []


@pytest.mark.parametrize("language", OTHERS)
def test_each_sentence_of_the_source_has_a_translation(language: str) -> None:
    known = {bare(sentence) for sentence in all_sentences(language)}
    missing = [f"{name}:{line} {text!r}" for name, line, text in shown() if text not in known]

    assert missing == [], "translate it in console/texts/sentences.*.toml, or say in this test why it stays English"


@pytest.mark.parametrize("language", OTHERS)
def test_each_piece_of_a_composed_sentence_is_in_a_translated_one(language: str) -> None:
    known = "\n".join(bare(sentence) for sentence in all_sentences(language))
    pieces = {piece for fragments in FRAGMENTS.values() for fragment in fragments for piece in fragment.split("{}")}

    assert {piece for piece in pieces if re.search("[a-z]", piece) and piece not in known} == set()


@pytest.mark.parametrize("language", OTHERS)
def test_each_translation_is_of_a_sentence_of_the_source(language: str) -> None:
    source = "\n".join(text for path in SOURCE.rglob("*.py") for text in texts(path))
    stale = [
        sentence
        for sentence in all_sentences(language)
        if not OF_OTHERS.search(sentence)
        and sentence not in COMPOSED
        and bare(sentence) not in source
        and any(clause not in source for piece in bare(sentence).split("{}") for clause in clauses(piece))
    ]

    assert stale == []


def test_what_is_listed_as_untranslated_or_composed_is_in_the_source() -> None:
    for listed in (UNTRANSLATED, FRAGMENTS):
        for name, entries in listed.items():
            assert entries <= texts(SOURCE / name), name


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_values_of_its_sentence_and_no_english_of_its_own(language: str) -> None:
    for sentence, translation in all_sentences(language).items():
        assert places(translation) == places(sentence), sentence
        assert {word.lower() for word in words(translation) - NAMES} <= {word.lower() for word in words(sentence)}, sentence
        assert not words(translation) & ENGLISH, sentence


NAMES = {"Action", "DHCP", "grain", "ID", "SSH", "U"}
"""Words that Chinese texts have beside those of their sentences."""
ENGLISH = {
    "an",
    "the",
    "it",
    "its",
    "is",
    "are",
    "was",
    "has",
    "have",
    "no",
    "not",
    "of",
    "or",
    "and",
    "for",
    "to",
    "with",
    "by",
    "on",
}


def test_each_sentence_is_read_as_itself() -> None:
    """And not as another one that looks like it."""
    for sentence, translation in all_sentences("zh").items():
        if sentence in sentences_of("zh")[PHRASES]:
            continue
        filled, values = sample(sentence)
        assert translate(CHINESE, filled) == translation.format(**values), sentence


@pytest.mark.parametrize("table", ["sources", "publishing", "formats", "chunks"])
def test_each_sentence_of_a_failure_is_read_among_others(table: str) -> None:
    for sentence, translation in sentences_of("zh")[table].items():
        filled, values = sample(sentence)
        chinese = translation.format(**values)
        failure = f"https://a.example/x: {filled} (HTTP 200, at byte 5); check the URL"
        refusal = f"size.odd: 5 bytes; size.limit: {filled}; body.tiny: 5 bytes"

        assert translate(CHINESE, failure) == f"https://a.example/x：{chinese}（HTTP 200，字节 5 处）；请检查 URL"
        assert translate(CHINESE, refusal) == f"size.odd：5 字节；size.limit：{chinese}；body.tiny：5 字节"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.id)
def test_each_kind_of_finding_can_be_said(kind: FindingKind) -> None:
    said = {text for id, found in remarks().items() if re.fullmatch(id, kind.id) for text in found}
    if kind.id.startswith("hygiene."):
        said = {"xfs in partition 1, ext4 on the whole disk" if kind.id == "hygiene.unread" else "/x1, /x2"}
    keys = {bare(sentence): sentence for sentence in all_sentences("zh")}
    assert said

    for text in (text for text in said if re.search("[a-z]", text)):
        remark = sample(keys[text])[0] if text in keys else text
        finding = Finding(kind.id, kind.severity, remark, kind.override)
        for sentence in (f"{kind.id}: {remark}", str(refused_for([finding])), str(refused_for([finding, finding]))):
            assert (chinese := translate(CHINESE, sentence)), sentence
            assert kind.id in chinese
            assert not words(chinese.replace(kind.id, "")) & ENGLISH, chinese


def test_the_message_of_each_retcode_is_translated() -> None:
    assert [error.form for error in REQUEST_ERRORS if not translate(CHINESE, error.form.format("x1"))] == []


@pytest.mark.parametrize("action", sorted({change.action for change in CHANGES.values()} | {PublishPHostImage}, key=str))
def test_what_a_field_of_a_form_expects_is_translated(action: type[Struct]) -> None:
    types = [field.type.innermost for field in fields_of(action)]
    expected = [f"expected {type_.description if type_.pattern else type_.expected}" for type_ in types]
    chinese = [translate(CHINESE, sentence) for sentence in expected if sentence != "expected a text"]

    assert all(chinese), expected
    assert [sentence for sentence in chinese if words(sentence) & ENGLISH] == []


def test_the_states_in_sentences_have_the_words_of_the_pages() -> None:
    phrases = sentences_of("zh")[PHRASES]

    for state in (*State, *HostState, *JobState):
        said = {CHINESE.get(f"states.{state.value}"), CHINESE.get(f"host_states.{state.value}")}
        assert phrases[state.value] in said, state


def test_words_that_stand_in_sentences_are_translated() -> None:
    phrases = sentences_of("zh")[PHRASES]
    purposes = {name for _, name in (*V4, *V6)}

    assert purposes | set(get_args(Reason)) | {credential.value for credential in Credential} <= set(phrases)


@pytest.mark.parametrize(
    ("sentence", "chinese"),
    [
        (
            "https://a.example/x.qcow2: there is no such file (HTTP 404); check with curl what the URL returns",
            "https://a.example/x.qcow2：没有这个文件（HTTP 404）；请用 curl 检查该 URL 返回什么",
        ),
        (
            "my own disk.raw: the gz is damaged: invalid code (at byte 12); get the whole file again",
            "my own disk.raw：gz 已损坏：invalid code（字节 12 处）；请重新获取完整的文件",
        ),
        (
            "https://a.example/x: the connection broke: Connection reset by peer, 8 times in a row (HTTP 200, at byte 5); "
            "5 bytes are kept: run the same again to go on",
            "https://a.example/x：连接中断：连接被对方重置，连续 8 次（HTTP 200，字节 5 处）；已保留 5 字节：重新执行即可继续",
        ),
        (
            "size.limit: a disk of 5 bytes; the limit is 4 "
            "(if that is meant, an operator can publish it with --override size.limit)",
            "size.limit：磁盘有 5 字节；上限是 4（如果本该如此，运营方可以用 --override size.limit 发布）",
        ),
        ("body.html: it begins with: <p>it is empty; or not", "body.html：它的开头是：<p>it is empty; or not"),
        ("put chunks/ab/cd: no space (No space left on device)", "写入 chunks/ab/cd：没有空间（No space left on device）"),
        (
            "upload job-1: parts missing: 1, 2; of a wrong size: 4, for a file of 9 bytes in parts of 2; send it again",
            "上传 job-1：分片缺少 1, 2；大小有误 4，文件有 9 字节，每个分片 2 字节；请重新发送",
        ),
        (
            "http://10.0.0.1/x: 10.0.0.1 is not a public address (private); "
            "ask the operator of this server to allow the network",
            "http://10.0.0.1/x：10.0.0.1 不是公网地址（私有）；请服务器的运营方允许该网段",
        ),
        (
            "hygiene.unread: xfs in partition 1, ext4 on the whole disk, which is damaged or too large to scan",
            "hygiene.unread：未能扫描的文件系统：分区 1 上的 xfs、整个磁盘上的 ext4（已损坏，或过大）",
        ),
        ("'x' does not appear to be an IPv4 or IPv6 network; expected a network such as 192.0.2.0/24, or any", None),
    ],
)
def test_composed_sentences_are_translated_as_a_whole(sentence: str, chinese: str | None) -> None:
    found = translate(CHINESE, sentence)

    assert found == chinese if chinese else found


@pytest.mark.parametrize(
    "sentence",
    [
        *("", "x", "it is", "a.raw: it is strange", "it is empty; it is strange", "strange; it is empty"),
        "a; b.raw: it is empty",  # such a name could be a sentence of its own
        "x" * MAX_SENTENCE + "y",
    ],
)
def test_what_has_no_translation_as_a_whole_has_none(sentence: str) -> None:
    assert translate(CHINESE, sentence) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("it is empty; x: " * 60, "a; " * 600, "a: b; " * 300, "5 bytes; " * 200, "parts " * 300 + ": " * 100),
        *("x or " * 300 + "x", "header, " * 220 + "header", "put " * 300 + ": no space (" * 30, " of " * 300 + ": ("),
        "its " + "a bytes have " * 38 + "a, expected was " * 31 + "a (" * 166 + "a)" * 240,
    ],
    ids=lambda text: text[:12],
)
def test_a_text_that_a_tenant_wrote_is_read_within_limits(text: str) -> None:
    reader = SentenceReader("zh")
    reader.read(f"{text}it is empty"[-MAX_SENTENCE:])

    assert reader.reads <= MAX_READS
    assert reader.ends <= MAX_ENDS


SAMPLES = {"": "x 1", "number": "5", "word": "x1", "name": "x 1", "text": "x 1", "phrase": "header", "sentence": "it is empty"}


def sample(sentence: str) -> tuple[str, dict[str, str]]:
    """A sentence with values in its places, and their translations."""
    english, values = "", {}
    for literal, name, takes, _ in string.Formatter().parse(sentence):
        english += literal
        if name:
            english += SAMPLES[takes or ""]
            values[name] = {"phrase": "头部", "sentence": "它是空的"}.get(takes or "", SAMPLES[takes or ""])
    return english, values


@cache
def all_sentences(language: str) -> dict[str, str]:
    """The sentences of all tables."""
    return {english: translation for entries in sentences_of(language).values() for english, translation in entries.items()}


def shown() -> Iterator[tuple[str, int, str]]:
    """Each sentence that a page may show whole, with its file and line."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.partition("/")[0] not in SHOWN or name in FILES_NOT_SHOWN or name.startswith("catalog/migrations/"):
            continue
        left_out = UNTRANSLATED.get(name, set()) | FRAGMENTS.get(name, set())
        yield from ((name, line, text) for line, text in sentences(path) if text not in left_out)


def bare(text: str) -> str:
    """A sentence with `{}` for each place."""
    return re.sub(r"\{[^}]*\}", "{}", text)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def words(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Za-z]+\b", bare(text)))


def clauses(piece: str) -> list[str]:
    """What the source may have apart: it joins clauses with these signs."""
    return [clause for clause in re.split(r"(?:[;:,]|, or|, nor) ?| \(|\)", piece) if re.search("[a-z]", clause)]
