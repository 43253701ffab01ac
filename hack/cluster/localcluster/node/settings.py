"""The configuration files of containerd, CNI, the kubelet and kube-proxy, each with the reason for what is unusual."""

import json
from typing import Any

from localcluster.layout import Facts, Layout
from localcluster.node.names import Names
from localcluster.node.pause import PAUSE_IMAGE

SOCKET = "/run/containerd/containerd.sock"  # inside the sandbox, where /run is its own
BRIDGE = "pods"


def write(layout: Layout, facts: Facts) -> None:
    """Write all of them below the state folder's `node`."""
    names = Names.of(facts)
    folder = layout.root / "node"
    (folder / "cni").mkdir(parents=True)
    (folder / "containerd.toml").write_text(_containerd(layout))
    (folder / "resolv.conf").write_text("# there is no DNS in this cluster\n")
    for name, content in {
        "cni/10-pods.conflist": _cni(names),
        "kubelet.json": _kubelet(layout, names),
        "kube-proxy.json": _proxy(layout, names),
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def _containerd(layout: Layout) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE no pod starts otherwise. disable_apparmor: it would load a
    # profile into the machine's kernel. opt: a plugin that makes a folder in /opt.
    return f"""\
version = 2
root = "{layout.root}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{layout.root}/node/cni"
"""


def _cni(names: Names) -> dict[str, Any]:
    # isDefaultGateway: without it pods have no route to Services. No masquerade: the host has a route to the pods.
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": names.pods}]]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pinfleet", "plugins": [bridge, ports]}


def _kubelet(layout: Layout, names: Names) -> dict[str, Any]:
    pki = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": names.node_address,
        "tlsCertFile": str(pki / "node-1.crt"),
        "tlsPrivateKeyFile": str(pki / "node-1.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{names.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "maxOpenFiles": 20000,
        "podLogsDir": str(layout.root / "logs" / "pods"),
        "volumePluginDir": str(layout.root / "node" / "volume-plugins"),
        "resolvConf": str(layout.root / "node" / "resolv.conf"),
        "imageGCHighThresholdPercent": 100,  # no image can be pulled again
        "localStorageCapacityIsolation": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
    }


def _proxy(layout: Layout, names: Names) -> dict[str, Any]:
    # conntrack: these are limits of the whole machine.
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("proxy"))},
        "mode": "iptables",
        "hostnameOverride": "node-1",
        "clusterCIDR": names.pods,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
