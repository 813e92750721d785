"""Sending a file to phimage in parts. `upload` is all that others need; no command line and no gateway is in here."""

from phimage.upload_client.send import Sent, upload

__all__ = ["Sent", "upload"]
