"""Uploads over HTTP: parts of a file are put one by one, and what has come is told, so that a broken upload goes on."""
