"""Files and the verdict on each: ours, and that of oslo.utils' format inspector, with the reason wherever the two differ.

`make` makes them; those that oslo.utils' own tests try are among them, made anew. `BAIT` is a file that no reader may open.
"""

from __future__ import annotations

from tests.formats.cases.case import BAIT, Case
from tests.formats.cases.disk import ISO, RAW
from tests.formats.cases.other import BODIES, FOREIGNERS
from tests.formats.cases.qcow2 import QCOW2
from tests.formats.cases.vhd import VHD, VHDX
from tests.formats.cases.vmdk import VMDK

__all__ = ["BAIT", "CASES", "Case"]

CASES = [*QCOW2, *VMDK, *VHD, *VHDX, *ISO, *RAW, *FOREIGNERS, *BODIES]
