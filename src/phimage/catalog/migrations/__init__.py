"""The schema's steps, run by `schema`."""
