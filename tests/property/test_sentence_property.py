"""Everything that an explanation says has a translation with the same values in it."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from phimage.console.sentences import translate
from phimage.console.texts import texts_of
from phimage.model.explain import UNSEEN, explain
from phimage.model.image import Image, Query, State
from phimage.model.topology import Topology
from tests.property.test_explain_property import catalogues, queries, topologies

VALUES = re.compile(r"pimg-x-\d|cn-bj2-\d\d|DB-2|Base-SSD-V5|Gone|\b\d+G\b|org-[ab]|ImageId|ProjectId|Cluster=")


@given(catalogues, queries, topologies, st.booleans(), st.sampled_from([0, 1_800_000_000]))
def test_each_sentence_of_an_explanation_is_translated(
    catalogue: tuple[Image, ...], query: Query, topology: Topology, is_stored: bool, deprecation: int
) -> None:
    for image in (replace(each, deprecation_time=deprecation) for each in catalogue):
        told = explain(image.id, image, catalogue, query, topology, stored=is_stored)
        for sentence in (*told.notes, *(text for reason in told.reasons for text in (reason.why, reason.remedy))):
            check(sentence)


def test_what_cannot_be_seen_is_explained_in_chinese() -> None:
    for sentence in UNSEEN:
        check(sentence)


@given(st.sampled_from(["", "it is", "the disk is too large", *(state.value for state in State)]))
@example("it is deprecated")
def test_a_sentence_that_no_text_has_is_not_translated(sentence: str) -> None:
    assert translate(texts_of("zh"), sentence) == ""


def check(sentence: str) -> None:
    """It has a translation without English words, with the same values."""
    chinese = translate(texts_of("zh"), sentence)
    assert chinese, sentence
    assert set(VALUES.findall(chinese)) == set(VALUES.findall(sentence)), sentence
    assert not re.search(r"\b(it|is|the|no|or|of|more)\b", chinese), chinese
    assert translate(texts_of("en"), sentence) == sentence
