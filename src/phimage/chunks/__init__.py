"""Image bytes: a narrow store, manifests over chunks, disks read and written, garbage collection. See docs/store-format.md."""
