"""Custom images of a host through the official SDK, with a real agent beside a loop device: create, wait, describe, modify,
terminate, reinstall."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ucloud.core import exc

from tests.deploying import loop_device
from tests.e2e.conftest import Installation, Sdk, on_sqlite
from tests.e2e.process import DESCRIBED, wait_until
from tests.e2e.rack import Rack, agent, machine
from tests.images.kept import run

SERIAL = "PHIMAGE-SDK"
ZONE = "cn-bj2-02"
MIB = 1 << 20


def made_disk(path: Path) -> Path:
    """A disk with a partition table and some bytes."""
    path.write_bytes(bytes(MIB) + random.Random(61).randbytes(3 * MIB) + bytes(12 * MIB))
    run("sfdisk", "-q", path, text="label: gpt\nstart=1MiB, size=14MiB\n")
    return path


@pytest.mark.more
@on_sqlite
def test_the_sdk_installs_a_host_makes_an_image_of_it_and_installs_that(
    installation: Installation, sdk: Sdk, tmp_path: Path
) -> None:
    rack, hardware = Rack(installation), machine(SERIAL)
    original = made_disk(tmp_path / "original")
    base = installation.phimage.well("image", "publish", str(original), "--trust-first-use", *DESCRIBED).strip()
    target = tmp_path / "target"
    target.write_bytes(b"\xaa" * 16 * MIB)
    client: Any = sdk(installation.url, rack.key, project_id=rack.project).uphost()
    with loop_device(target) as device:
        host = rack.register(SERIAL, hardware.macs[0], f"path:{device}")

        def seen() -> dict[str, Any]:
            answer = client.describe_phost({"Zone": ZONE, "PHostId": [host.id]})
            assert (answer["TotalCount"], len(answer["PHostSet"])) == (1, 1)
            found: dict[str, Any] = answer["PHostSet"][0]
            return found

        def installed(image: str) -> None:
            asked = {"Zone": ZONE, "PHostId": host.id, "ImageId": image, "Password": ""}
            assert client.reinstall_phost(asked)["PHostId"] == host.id
            wait_until(lambda: seen()["PMStatus"] != "Starting", 120)
            assert seen()["PMStatus"] == "Stopped", seen()
            subprocess.run(["blockdev", "--flushbufs", device], check=True)

        def state(image: str) -> str:
            (found,) = client.describe_phost_image({"Zone": ZONE, "ImageId": [image]})["ImageSet"]
            return str(found["State"])

        with agent(installation.url, host, SERIAL, tmp_path / "agent.log"):
            rack.wait_for(host, "Free")
            assert client.describe_phost({"Zone": ZONE})["PHostSet"] == []
            rack.operator.well("host", "assign", host.id, rack.project)
            stopped = seen()
            assert (stopped["PMStatus"], stopped["PowerState"], stopped["SN"]) == ("Stopped", "on", SERIAL)
            assert type(stopped["CreateTime"]) is int
            assert type(stopped["CPUSet"]["Frequence"]) is float
            with pytest.raises(exc.RetCodeException) as refused:
                client.reinstall_phost({"Zone": ZONE, "PHostId": host.id, "ImageId": base, "Password": "c2VjcmV0"})
            assert refused.value.code == 230

            installed(base)
            assert target.read_bytes()[: 15 * MIB] == original.read_bytes()[: 15 * MIB]
            with Path(device).open("r+b") as disk:
                disk.seek(5 * MIB)
                disk.write(b"changed")

            create = {"Zone": ZONE, "PHostId": host.id, "ImageName": "changed", "ImageDescription": "by hand"}
            image = client.create_phost_image(create)["ImageId"]
            assert seen()["BootDiskState"] in ("ImageMaking", "Normal")
            wait_until(lambda: state(image) != "Making", 120)
            assert state(image) == "Available"
            client.modify_phost_image_info({"Zone": ZONE, "ImageId": image, "Name": "renamed", "Remark": "of a host"})
            (found,) = client.describe_phost_image({"Zone": ZONE, "ImageType": "Custom"})["ImageSet"]
            assert (found["ImageName"], found["ImageDescription"], found["ImageId"]) == ("renamed", "of a host", image)

            with Path(device).open("r+b") as disk:
                disk.write(bytes(MIB))
            installed(image)
            assert seen()["ImageName"] == "renamed"
            assert target.read_bytes()[5 * MIB :][:7] == b"changed"
            assert client.terminate_phost_image({"Zone": ZONE, "ImageId": image})["ImageId"] == image
            assert client.describe_phost_image({"Zone": ZONE, "ImageType": "Custom"})["ImageSet"] == []
