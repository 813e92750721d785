"""The client side of uploads: `upload` sends a file to phimage in parts, `upload_disk` a raw disk by chunks."""

from phimage.upload_client.send import UploadResult, upload, upload_disk

__all__ = ["UploadResult", "upload", "upload_disk"]
