"""Long-running work on the catalogue and the store: garbage collection, verification, statistics, checks and copies.

Commands run it where the store is, beside servers and publishers; it is never part of a request.
"""
