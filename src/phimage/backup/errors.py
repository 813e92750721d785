"""What can go wrong with a backup."""

from __future__ import annotations

from phimage.errors import PhimageError


class BackupFailed(PhimageError):
    """A backup or a restore did not come to its end. What was copied stays, so that the same command goes on."""
