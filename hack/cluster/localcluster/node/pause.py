"""The image that holds a pod's namespaces: a static busybox that sleeps, packed here, since nothing can be pulled."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

PAUSE_IMAGE = "registry.local/pause:1"
BUSYBOX = Path("/bin/busybox")


def write(archive: Path) -> None:
    """Write a Docker archive of one layer with /bin/busybox and its names for a shell and sleep."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(BUSYBOX.resolve(), arcname="bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    content = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    described = json.dumps(config).encode()
    name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, mode="w") as tar:
        for member, data in (
            (name, described),
            ("layer.tar", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
