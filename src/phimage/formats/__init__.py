"""Formats of disk images: what a file is, and whether it is safe to convert and to deliver.

    bytes ──recognise (table)──▶ Format ──qcow2 | vmdk | vhd | vhdx | iso | disk──▶ findings ──examine──▶ Examination
                                                qemu (in a sandbox) ──────second opinion──────┘
    decoded disk ──disk──▶ partitions, file systems, boot modes, operating system

The header decides the format, never a name. phimage's own inspectors run first. qemu-img is started only on a file that they
did not refuse, with the format given, in a sandbox (`sandbox.py`): no network, no other file, limits on everything.
docs/how-to/refused-images.md explains each kind of finding.
"""
