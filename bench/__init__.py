"""Measurements, run by hand with `make bench`. Every figure stands beside a floor that was measured in the same run."""
