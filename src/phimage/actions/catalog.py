"""The catalogue as code, for the operator: plan, apply, export."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.restore import hold, is_stored
from phimage.actions.service import Call, Service
from phimage.catalog_file.export import export
from phimage.catalog_file.past import manifests_of_returning
from phimage.catalog_file.plan import Kept, Plan, carry_out, plan, plan_of
from phimage.catalog_file.read import Reading, read
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.image import NO_PROJECT

MAX_CATALOG = 8 * 1024 * 1024
"""Most bytes of a request that carries a catalogue."""

CatalogParam = Annotated[str, Meta(max_length=MAX_CATALOG, description="a catalogue file: the text of the YAML")]
PruneParam = Annotated[
    bool, Meta(description="withdraw what the file does not name, apart from images that no applied file has ever named")
]


class PlanCatalog(Struct, rename="pascal", frozen=True, kw_only=True):
    """Say what a catalogue file would change. Nothing is changed."""

    catalog: CatalogParam
    prune: PruneParam = False


class ApplyCatalog(Struct, rename="pascal", frozen=True, kw_only=True):
    """Make the catalogue as a file wants it, in one revision.

    Withdraw must be the number of images that Prune withdraws; another number is refused with RetCode 230, all of the images
    in `WithdrawSet`, and nothing changed.
    """

    catalog: CatalogParam
    prune: PruneParam = False
    withdraw: Annotated[int, Meta(ge=0, description="how many images Prune withdraws")] = 0


class ExportCatalog(Struct, rename="pascal", frozen=True, kw_only=True):
    """Write the catalogue as a file. The same catalogue always gives the same bytes."""


class FieldSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A field that changes; what was or will not be there is empty."""

    field: Annotated[str, Meta(description="name of the field")]
    old: Annotated[str, Meta(description="value before")]
    new: Annotated[str, Meta(description="value after")]


class DifferenceSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A thing that is added, changed or withdrawn, or an image that was withdrawn and comes back."""

    noun: Annotated[str, Meta(description="cluster, region, zone, machine_type, offer, image or source")]
    id: Annotated[str, Meta(description="id of the thing")]
    title: Annotated[str, Meta(description="its name, for people")]
    verb: Annotated[str, Meta(description="added, changed, withdrawn or restored")]
    fields: Annotated[
        tuple[FieldSet, ...],
        Meta(
            description="the fields that change; none for what is added or withdrawn. Those of a restored image compare "
            "with its last state; `bytes` says what becomes of its bytes: restored, from its source, or none"
        ),
    ]


class KeptSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A thing that the file does not name and that stays, or an image that it names for the first time."""

    noun: Annotated[str, Meta(description="cluster, region, zone, machine_type or image")]
    id: Annotated[str, Meta(description="id of the thing")]
    title: Annotated[str, Meta(description="its name, for people")]


class PlanCatalogResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """What changes, or was changed. `Revision` is the newest one after that.

    A file with mistakes is answered with RetCode 230 and all of them in `Mistakes`: Line, Column, Field, Message.
    """

    revision: Annotated[int, Meta(description="the newest revision after that")]
    difference_set: Annotated[tuple[DifferenceSet, ...], Meta(description="what the file changes")]
    kept_set: Annotated[
        tuple[KeptSet, ...], Meta(description="what the file does not name and stays, because Prune was not asked for")
    ]
    spared_set: Annotated[
        tuple[KeptSet, ...], Meta(description="published images that no applied file has named: they stay, also with Prune")
    ]
    adopted_set: Annotated[
        tuple[KeptSet, ...],
        Meta(description="published images that the file names for the first time: Prune takes them from now on"),
    ]


class ExportCatalogResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The catalogue of a revision."""

    revision: Annotated[int, Meta(description="the revision that the file has")]
    catalog: Annotated[str, Meta(description="the text of the YAML")]


def plan_catalog(request: PlanCatalog, call: Call) -> PlanCatalogResponse:
    if call.view.pinned:
        raise UnavailableParam("rev", detail="a plan is made against the newest revision, which is what apply changes")
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        found = plan(connection, call.view.revision, request.catalog, request.prune, partial(is_stored, call.service))
    return _on_wire(_good(found), call.view.revision)


def apply_catalog(request: ApplyCatalog, call: Call) -> PlanCatalogResponse:
    reading = read(request.catalog)
    held = hold(call.service, _returning(reading, call.service))
    with call.service.change(call) as change:
        made = _good(plan_of(change.connection, change.parent, reading, request.prune, held.has))
        _check_withdrawals(made, request.withdraw)
        held.check(call.service.now())
        carry_out(change, made, call.service.random)
    return _on_wire(made, change.number if change.records else change.parent)


def _returning(reading: Reading, service: Service) -> list[str]:
    """The manifests of withdrawn images that a file names again."""
    with service.catalog.database.read() as connection:
        return manifests_of_returning(connection, reading.document)


def export_catalog(request: ExportCatalog, call: Call) -> ExportCatalogResponse:
    text = export(call.view.topology(), call.view.base_images(), call.view.image_bytes_of(NO_PROJECT))
    return ExportCatalogResponse(revision=call.view.revision, catalog=text)


def _good(made: Plan) -> Plan:
    """The plan. Raises UnavailableParam with all mistakes of the file."""
    if made.mistakes:
        mistakes = [
            {"Line": found.line, "Column": found.column, "Field": found.field, "Message": found.message}
            for found in made.mistakes
        ]
        first = made.mistakes[0]
        raise UnavailableParam(
            "Catalog",
            detail=f"{len(mistakes)} mistakes, the first in line {first.line}: {first.field}: {first.message}",
            fields={"Mistakes": mistakes},
        )
    return made


def _check_withdrawals(made: Plan, agreed: int) -> None:
    """Raises UnavailableParam, with the list, unless so many images are withdrawn as the caller agreed to."""
    images = made.withdrawn_images
    if len(images) == agreed:
        return
    told = ", ".join(f"{found.id} ({found.title})" for found in images) or "none"
    raise UnavailableParam(
        "Withdraw",
        detail=f"Prune withdraws {len(images)} images, and Withdraw={agreed} agrees to {agreed}: {told}",
        fields={"WithdrawSet": [{"ImageId": found.id, "ImageName": found.title} for found in images]},
    )


def _on_wire(made: Plan, revision: int) -> PlanCatalogResponse:
    return PlanCatalogResponse(
        revision=revision,
        difference_set=tuple(
            DifferenceSet(
                noun=found.noun,
                id=found.id,
                title=found.title,
                verb=found.verb,
                fields=tuple(FieldSet(field=f.field, old=f.old, new=f.new) for f in found.fields),
            )
            for found in made.differences
        ),
        kept_set=_kept(made.kept),
        spared_set=_kept(made.spared),
        adopted_set=_kept(made.adopted),
    )


def _kept(things: tuple[Kept, ...]) -> tuple[KeptSet, ...]:
    return tuple(KeptSet(noun=kept.noun, id=kept.id, title=kept.title) for kept in things)


ACTIONS = (
    Action(PlanCatalog, PlanCatalogResponse, plan_catalog, Right.OPERATE, max_body=MAX_CATALOG),
    Action(ApplyCatalog, PlanCatalogResponse, apply_catalog, Right.OPERATE, changes=True, max_body=MAX_CATALOG),
    Action(ExportCatalog, ExportCatalogResponse, export_catalog, Right.OPERATE),
)
