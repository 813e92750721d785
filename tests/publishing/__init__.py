"""Publishing, in process: real files, real inspectors, real stores and databases; no network and no server."""
