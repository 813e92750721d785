"""Uploads over HTTP: a file arrives in parts, and the parts that have arrived can be listed, so that a client can resume."""
