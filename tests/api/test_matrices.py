"""The matrix of many images says of each what the list and the matrix of one image say."""

from __future__ import annotations

from typing import Any

from tests.api import small
from tests.api.gateway import Gateway

NORTH_A = {"Region": "north", "Zone": "north-a"}


def matrices(gateway: Gateway, **asked: Any) -> dict[str, Any]:
    reply = gateway.ask("ListPHostImageMatrices", {**NORTH_A, **asked}, pair=small.ACME)
    assert reply.ret_code == 0, reply.fields
    return reply.fields


def test_its_rows_are_the_list_and_its_columns_what_the_zone_offers(small_gateway: Gateway) -> None:
    found = matrices(small_gateway)
    listed = small_gateway.ask("DescribePHostImage", {**NORTH_A, "Limit": 100}, pair=small.ACME)

    assert [row["ImageId"] for row in found["RowSet"]] == listed.ids
    assert found["TotalCount"] == listed.total
    columns = [(column["MachineType"], column["Cluster"], column["IsDefault"]) for column in found["ColumnSet"]]
    assert columns == [("Both", "10G", False), ("Both", "25G", True), ("Slow", "10G", True), ("Slow", "1G", True)]


def test_each_cell_is_the_list_of_its_machine(small_gateway: Gateway) -> None:
    found = matrices(small_gateway)

    for position, column in enumerate(found["ColumnSet"]):
        machine = {"MachineType": column["MachineType"], "Cluster": column["Cluster"]}
        listed = small_gateway.ask("DescribePHostImage", {**NORTH_A, **machine, "Limit": 100}, pair=small.ACME).ids
        assert [row["ImageId"] for row in found["RowSet"] if not row["Rules"][position]] == listed
        assert {row["Rules"][position] for row in found["RowSet"]} <= {"", "runs"}


def test_each_row_is_the_matrix_of_its_image(small_gateway: Gateway) -> None:
    found = matrices(small_gateway, ImageType="Base")

    for row in found["RowSet"]:
        asked = {**NORTH_A, "ImageId": row["ImageId"]}
        cells = small_gateway.ask("GetPHostImageMatrix", asked, pair=small.ACME).fields["MatrixSet"]
        rules = {(cell["MachineType"], cell["Cluster"]): cell["Rule"] for cell in cells}
        columns = [(column["MachineType"], column["Cluster"]) for column in found["ColumnSet"]]
        assert row["Rules"] == [rules[column] for column in columns]


def test_it_has_pages_and_filters(small_gateway: Gateway) -> None:
    everything = [row["ImageId"] for row in matrices(small_gateway)["RowSet"]]
    page = matrices(small_gateway, Offset=2, Limit=3)

    assert [row["ImageId"] for row in page["RowSet"]] == everything[2:5]
    assert page["TotalCount"] == len(everything)
    assert matrices(small_gateway, Limit=0)["RowSet"] == []
    assert {row["ImageType"] for row in matrices(small_gateway, ImageType="Custom")["RowSet"]} == {"Custom"}
    assert matrices(small_gateway, Family="no-such-family")["TotalCount"] == 0
