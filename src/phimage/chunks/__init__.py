"""Image bytes: a narrow store, manifests over chunks, streams in and out, care. docs/store-format.md has the format."""
