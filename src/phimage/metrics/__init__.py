"""The metrics of an installation, of all its processes together, for Prometheus."""
