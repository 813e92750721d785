"""The rescue system: a Linux in memory with the agent, made of Debian's packages, that a host boots over the network.

packages ──mmdebstrap──▶ tar ──contents──▶ files ──cpio──▶ initrd.img
                          └──────────────▶ vmlinuz            boot.ipxe names both, the server and the host's token
"""
