"""What an installation tells of its health: the measures of all its worker processes, for Prometheus."""
