"""An image's bytes over HTTP: one disk in several forms, each computed from verified chunks while it is sent."""
