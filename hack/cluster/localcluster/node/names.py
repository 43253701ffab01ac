"""The names and addresses of one node cluster, all from its octet, so that what a crash left is found by name."""

from dataclasses import dataclass

from localcluster.layout import Facts


@dataclass(frozen=True)
class Names:
    """What one cluster is called on the machine."""

    octet: int  # leased: no two clusters have the same

    @classmethod
    def of(cls, facts: Facts) -> "Names":
        """The names of a recorded cluster."""
        return cls(facts.octet)

    @property
    def host_link(self) -> str:
        """The host's end of the veth pair."""
        return f"pinfleet-{self.octet}"

    @property
    def inner_link(self) -> str:
        """The other end, inside the network namespace."""
        return "uplink"

    @property
    def host_address(self) -> str:
        """Where the API server serves."""
        return f"10.250.{self.octet}.1"

    @property
    def node_address(self) -> str:
        """The node's own address."""
        return f"10.250.{self.octet}.2"

    @property
    def pods(self) -> str:
        """The range of the pods' addresses; reached from the host by one route through the node."""
        return f"10.244.{self.octet}.0/24"

    @property
    def cgroup(self) -> str:
        """The control group of all that runs here, in every hierarchy."""
        return f"pinfleet-{self.octet}"
