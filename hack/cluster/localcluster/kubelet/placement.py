"""The addresses of one pod, recorded so that a restarted kubelet reports the same."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Placement:
    """Where a pod is."""

    address: str  # what its processes bind; the downward API says this
    front: str  # what the pod reports when its network is proxied; else empty
    begun_at: str  # RFC 3339: when the kubelet saw the pod

    def save(self, path: Path) -> None:
        """Record it, replaced atomically."""
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(self)))
        scratch.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Placement | None":
        """What was recorded."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
