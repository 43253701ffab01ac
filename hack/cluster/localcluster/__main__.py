"""The command line: `up`, `down`, `status`, `env`."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from localcluster.binary import folder
from localcluster.cluster import PROFILES, Cluster
from localcluster.errors import LocalClusterError

_CHECKOUT = Path(__file__).resolve().parents[3]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="localcluster", description=sys.modules["localcluster"].__doc__)
    default = Path(os.environ.get("PINFLEET_CLUSTER") or _CHECKOUT / ".cluster")
    where = "state folder (default: %(default)s)"
    parser.add_argument("--state", type=Path, default=default, help=where)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--state", type=Path, default=argparse.SUPPRESS, help="the same, after the command")
    how = "processes: pods are local processes; node: real pods, as root (default: as it was, else processes)"
    shared.add_argument("--profile", choices=sorted(PROFILES), help=how)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[shared], help="have a whole cluster; builds Kubernetes the first time")
    up.add_argument("--images", type=Path, help="images.yaml, or with --profile node a folder of image archives")
    up.add_argument("--nodes", type=int, help="number of nodes (default: 2; with --profile node it is 1)")
    commands.add_parser("down", parents=[shared], help="end every process of the cluster, pods included")
    commands.add_parser("status", parents=[shared], help="one line per component; exit code 0 only if all are well")
    commands.add_parser("env", parents=[shared], help='shell exports: eval "$(... env)"')
    return parser


def _status(cluster: Cluster) -> int:
    """Print each component; 0 only if all are well."""
    for name in cluster.components:
        print(f"{name:24} {'running' if cluster.is_running(name) else 'not running'}")
    problems = cluster.problems()
    print("\n".join(f"problem: {line}" for line in problems) or f"all well: {cluster.server}")
    return 1 if problems else 0


def _env(cluster: Cluster) -> int:
    """Print shell exports."""
    values = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "PINFLEET_CLUSTER": str(cluster.layout.root),
        "PINFLEET_AUDIT_LOG": str(cluster.audit_log),
    }
    print(f"# {cluster.server}")
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f'export PATH={shlex.quote(str(folder()))}:"$PATH"')
    return 0


def main() -> int:
    """Run one command.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args()
    cluster = Cluster(arguments.state, lambda line: print(line, flush=True), arguments.profile)
    try:
        match arguments.command:
            case "up":
                cluster.up(images=arguments.images, nodes=arguments.nodes)
                return 0
            case "down":
                cluster.down()
                return 0
            case "status":
                return _status(cluster)
            case _:
                return _env(cluster)
    except LocalClusterError as err:
        print(f"localcluster: {err}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
