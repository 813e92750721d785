"""The console: pages for people, above the same Actions as everybody else."""
