"""Kills, faults and crowds: what must hold whatever happens. Each proof has a short form, and a long one for `make torture`."""
