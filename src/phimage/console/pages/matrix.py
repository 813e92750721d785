"""The matrix: every image of a zone against every machine type on every cluster. Each cell leads to its reason."""

from __future__ import annotations

from itertools import groupby

from phimage.actions.matrix import ListPHostImageMatrices, ListPHostImageMatricesResponse
from phimage.console.pages.places import places, project_choices, region_of, start_zone
from phimage.console.pages.snippets import phimage_command, snippets
from phimage.console.pagination import page_number, pages_of
from phimage.console.visit import PageContent, Visit

MATRIX_ROWS = 25


async def show_matrix(visit: Visit) -> PageContent:
    """The page of the matrix."""
    address = visit.address
    topology = await places(visit)
    zone = address.get("Zone") or start_zone(topology)
    region = region_of(topology, zone)
    asked = {
        "Region": region,
        "Zone": zone,
        **({"Family": address.get("family")} if address.get("family") else {}),
        **({"ImageType": address.get("ImageType")} if address.get("ImageType") else {}),
    }
    found = None
    if topology.zone_set:
        offset = (page_number(address) - 1) * MATRIX_ROWS
        found = await visit.ask(
            ListPHostImageMatrices, ListPHostImageMatricesResponse, **asked, Offset=offset, Limit=MATRIX_ROWS
        )
    columns = found.column_set if found else ()
    return PageContent(
        "matrix.html",
        {
            "zone": zone,
            "topology": topology,
            "projects": await project_choices(visit),
            "found": found,
            "column_set": columns,
            "queries": [
                address.link(Zone=zone, MachineType=column.machine_type, Cluster=column.cluster).removeprefix(address.root)
                for column in columns
            ],
            "kinds": [(kind, len(list(some))) for kind, some in groupby(columns, key=lambda column: column.machine_type)],
            "firsts": {
                index
                for index, column in enumerate(columns)
                if index == 0 or columns[index - 1].machine_type != column.machine_type
            },
            "rules": sorted({rule for row in found.row_set for rule in row.rules if rule}) if found else [],
            "pages": pages_of(address, found.total_count, len(found.row_set), MATRIX_ROWS) if found else None,
            "snippets": snippets(
                visit,
                "ListPHostImageMatrices",
                asked,
                phimage_command(visit, ["api", "ListPHostImageMatrices", *_words(asked)]),
            ),
        },
    )


def _words(params: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in params.items()]
