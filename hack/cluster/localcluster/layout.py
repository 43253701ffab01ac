"""Where everything of one cluster lies under its state folder, and the facts recorded there.

Shared by the supervisor and the stand-in kubelet; both read, only the supervisor writes `facts.json`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PORTS = ("etcd", "etcd-peer", "apiserver", "controllers", "scheduler")


@dataclass(frozen=True)
class Facts:
    """What the first `up` chose; later ones keep to it where they can."""

    octet: int  # n of 127.n.0.0/16, and of 10.250.n.0/30 and 10.244.n.0/24 in profile `node`
    ports: dict[str, int]  # a port of 127.0.0.1 per name in PORTS
    nodes: int  # how many nodes the stand-in kubelet registers
    backoff_seconds: float  # first pause before a container is started a third time; doubles
    python: str  # the supervisor's interpreter: the default one of images
    profile: str = "processes"  # how pods come to run: `processes` or `node`

    @property
    def host(self) -> str:
        """The address that the API server serves on: the nodes of profile `node` cannot reach the host's loopback."""
        return "127.0.0.1" if self.profile == "processes" else f"10.250.{self.octet}.1"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.host}:{self.ports['apiserver']}"

    @property
    def node_names(self) -> tuple[str, ...]:
        """node-1, node-2, ..."""
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))

    def node_address(self, name: str) -> str:
        """The address that a node reports as its own and serves logs on."""
        number = int(name.removeprefix("node-"))
        return f"127.{self.octet}.0.{number + 10}" if self.profile == "processes" else f"10.250.{self.octet}.2"


@dataclass(frozen=True)
class Layout:
    """Paths of one cluster."""

    root: Path  # the state folder, absolute

    @property
    def facts_file(self) -> Path:
        """The recorded facts."""
        return self.root / "facts.json"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def identities(self) -> Path:
        """One recorded process identity per component."""
        return self.root / "components"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.root / "logs"

    @property
    def pods(self) -> Path:
        """One folder per pod uid; `<uid>/<container>.pid` is documented for tests."""
        return self.root / "pods"

    @property
    def claims(self) -> Path:
        """One folder per persistent volume."""
        return self.root / "claims"

    @property
    def images(self) -> Path:
        """A symbolic link to the images.yaml in use; it dangles when none was given."""
        return self.root / "images.yaml"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event per line."""
        return self.root / "audit.log"

    def identity(self, component: str) -> Path:
        """The recorded process of a component."""
        return self.identities / f"{component}.json"

    def log(self, component: str) -> Path:
        """A component's log."""
        return self.logs / f"{component}.log"

    def kubeconfig(self, user: str = "admin") -> Path:
        """A user's kubeconfig."""
        return self.root / f"{user}.kubeconfig"

    def read_facts(self) -> Facts | None:
        """The recorded facts; None before the first `up` or when they cannot be read."""
        try:
            return Facts(**json.loads(self.facts_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_facts(self, facts: Facts) -> None:
        """Record the facts, replaced atomically."""
        scratch = self.facts_file.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(facts), indent=2) + "\n")
        scratch.replace(self.facts_file)


def pod_marker(root: Path) -> str:
    """The environment entry that every pod process of this cluster carries, so that none is left behind."""
    return f"LOCALCLUSTER_STATE={root}"
