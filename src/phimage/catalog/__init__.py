"""The catalogue in SQL, versioned by revisions.

A change is one revision: number, time, actor, address, request id, and the things that it touched. A row is valid from the
revision `since` until before the revision `until`, and is never overwritten. So the present catalogue, any past one and the
audit trail are queries over the same rows.
"""
