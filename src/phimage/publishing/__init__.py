"""Publishing: an original file is fetched or uploaded, verified, unpacked, examined, converted and stored as an image.

    job ──worker (lease)──▶ originals ──▶ pipeline: original ─unpack─▶ raw disk in order ─▶ chunks ─examine─▶ manifest
                                                    other formats ─▶ file ─examine, convert─▶ chunks ───────────┤
    catalogue: image Making ────────────────────────────one revision───────────────────────▶ image Available ◀──┘

A job is claimed by one worker at a time. Whatever happens, the image ends up with all of its bytes, or with none and a reason.
"""
