"""The files of `deploy/`: units, their walls, the container, and the page about them."""
