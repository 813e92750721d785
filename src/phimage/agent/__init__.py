"""The agent beside a disk: it deploys images to the disk of its machine, and captures the disk as an image.

It is shipped as one file, `phimage-agent.pyz`, and runs from a rescue system. So it imports the standard library, zstd and the
few modules of phimage that do the same alone.
"""
