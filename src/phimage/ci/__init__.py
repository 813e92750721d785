"""The endpoint for tests: one process with a world per test, made at first use from the same seed, with faults on demand.

    serve ──▶ endpoint ──▶ path (world, faults) ──▶ calls ──▶ world: application, clock, journal, publisher
                      └──▶ control (/ci/...) ─────────────────▶ the same worlds

Signatures, roles, rates and states are those of production: a world is an application of `phimage.application` on a database
and a store of its own. Only `phimage ci` imports this room.
"""
