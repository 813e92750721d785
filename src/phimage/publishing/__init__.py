"""From an original file to an image: fetched or uploaded, verified, unpacked, examined, converted, stored, and only then there.

    job ──worker (lease)──▶ originals ──▶ pipeline: original ─unpack─▶ file ─examine, convert─▶ raw disk ─chunks─▶ manifest
                                                                                                        │
    catalogue: image Making ───────────────────────────one revision────────────────────▶ image Available ◀┘

A job is claimed by one worker at a time. Whatever happens on the way, the image has all of its bytes, or none and a reason.
"""
