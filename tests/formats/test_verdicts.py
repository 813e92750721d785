"""The verdict on every file of the corpus: ours, qemu-img's and that of oslo.utils."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.formats import qemu
from phimage.formats.examine import examine, examine_disk, examine_head
from phimage.formats.reader import BytesReader
from phimage.formats.table import KINDS, Format
from tests.formats import oracle
from tests.formats.cases import CASES, Case
from tests.formats.cases.case import write
from tests.formats.make import MIB

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
each_good_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if not case.refused])
each_bad_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if case.refused])


@pytest.fixture
def path(case: Case, tmp_path: Path) -> Iterator[Path]:
    file = write(case.image(), tmp_path / "image")
    yield file
    file.unlink()


@each_case
def test_a_file_is_known_and_refused_for_what_is_wrong_with_it(case: Case) -> None:
    found = examine(BytesReader(case.image()))
    assert found.format is case.format
    assert {finding.id for finding in found.refusals()} == case.refused
    assert case.size is None or found.virtual_size == case.size


@each_good_case
def test_qemu_img_reads_the_same_disk_from_a_file_that_is_taken(case: Case, path: Path) -> None:
    found = examine(path)
    assert found.confirmed, found.findings
    assert not found.refusals()


@each_bad_case
def test_qemu_img_is_never_started_on_a_file_that_is_refused_for_good(case: Case, path: Path) -> None:
    asked: list[Format] = []

    def second(file: int, format: Format) -> qemu.QemuInfo:
        asked.append(format)
        return qemu.info(file, format)

    found = examine(path, second=second)
    only_overridable = all(KINDS[id].override for id in case.refused)
    assert bool(asked) is only_overridable
    assert found.confirmed is only_overridable
    assert not (found.confirmed and found.refusals(frozenset(case.refused)))


@each_case
def test_the_verdict_agrees_with_oslo_utils_or_the_difference_is_explained(case: Case) -> None:
    assert oracle.accepts(case.image()) is case.oslo
    assert bool(case.why) is (case.oslo is bool(case.refused))


@each_case
def test_the_first_mebibyte_is_not_refused_for_what_the_whole_file_is_taken_for(case: Case) -> None:
    image = case.image()
    for size in (len(image), None):
        found = examine_head(image[:MIB], size)
        refused = {finding.id for finding in found.refusals()}
        assert refused <= case.refused or case.format in (Format.VHD, Format.DMG)
        assert found.format is case.format or found.format is Format.RAW


@pytest.mark.parametrize(
    "id",
    ["qcow2.backing-file", "qcow2.data-file", "vmdk.descriptor", "vmdk.parent", "body.html", "format.compressed", "size.limit"],
)
def test_the_first_mebibyte_is_enough_for_what_matters_most(id: str) -> None:
    known = [case for case in CASES if id in case.refused and len(case.image()) > 512]
    for case in known:
        found = examine_head(case.image()[:MIB], None)
        assert id in {finding.id for finding in found.refusals()} or case.format in (Format.VHD, Format.VHDX)


@each_good_case
def test_a_disk_that_holds_a_disk_image_is_refused_and_one_that_holds_a_disk_is_not(case: Case) -> None:
    found = examine_disk(BytesReader(case.image()))
    refused = {finding.id for finding in found.refusals()}
    assert ("disk.nested" in refused) is (case.format not in (Format.RAW, Format.ISO))
