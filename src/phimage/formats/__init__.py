"""What a disk image's bytes are, and whether they are safe to convert and to hand out.

    bytes ──signature──▶ Format ──qcow2 | vmdk | vhd | vhdx | iso | raw──▶ findings ──examine──▶ Examination
                                          qemu (in a cell) ──────second opinion──────┘
    decoded disk ──disk──▶ partitions, file systems, boot modes, operating system

The header decides the format, never a name. Our own readers look first; qemu-img is started only on a file that they did
not refuse, is told the format, and sits in a cell (`cell.py`): no network, no other file, limits on everything.
`kinds.py` registers every finding once; docs/how-to/refused-images.md explains each.
"""
