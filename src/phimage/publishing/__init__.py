"""Publishing: an original file is fetched or uploaded, verified, unpacked, examined, converted and stored as an image.

    job ──worker (lease)──▶ originals ──▶ pipeline: original ─unpack─▶ file ─examine, convert─▶ raw disk ─chunks─▶ manifest
                                                                                                        │
    catalogue: image Making ───────────────────────────one revision────────────────────▶ image Available ◀┘

A job is claimed by one worker at a time. Whatever happens, the image ends up with all of its bytes, or with none and a reason.
"""
