"""The processes of phimage: the server with its workers, and the publishers beside it."""
