"""The client side of an upload: sends a file to phimage in parts. `upload` is the interface."""

from phimage.upload_client.send import UploadResult, upload

__all__ = ["UploadResult", "upload"]
