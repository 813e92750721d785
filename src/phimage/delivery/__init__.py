"""An image's bytes over HTTP: one disk in several forms, each made of verified chunks, none of them kept for it."""
