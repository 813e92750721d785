"""Facts in SQL, as a log of revisions. The only room that knows SQLAlchemy.

A change is one revision: number, time, actor, address, request id, and what it touched. A row holds from the revision
`since` until before the revision `until`; nothing that was true is overwritten. So the current catalogue, any past one
and the audit trail are queries over the same rows.
"""
