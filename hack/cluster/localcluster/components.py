"""The command line of every component, with the flags that a cluster on loopback needs."""

from pathlib import Path

from localcluster.layout import Facts, Layout

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_FAST = ["--kube-api-qps=2000", "--kube-api-burst=4000"]  # the defaults of 20 and 50 would decide every load test
_QUOTA = 8 * 2**30
_AUDIT_MEGABYTES = 8000  # one file for the life of a cluster, else offsets of readers break


def command(component: str, layout: Layout, facts: Facts, binaries: Path) -> list[str]:
    """The command line of one component of the control plane."""
    flags = {
        "etcd": _etcd,
        "kube-apiserver": _apiserver,
        "kube-controller-manager": _controllers,
        "kube-scheduler": _scheduler,
    }[component]
    return [str(binaries / component), *flags(layout, facts)]


def _etcd(layout: Layout, facts: Facts) -> list[str]:
    client = f"http://127.0.0.1:{facts.ports['etcd']}"
    peer = f"http://127.0.0.1:{facts.ports['etcd-peer']}"
    return [
        "--name=default",
        f"--data-dir={layout.root / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--quota-backend-bytes={_QUOTA}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=5m",
    ]


def _apiserver(layout: Layout, facts: Facts) -> list[str]:
    pki = layout.pki
    return [
        f"--etcd-servers=http://127.0.0.1:{facts.ports['etcd']}",
        f"--bind-address={facts.host}",
        f"--secure-port={facts.ports['apiserver']}",
        f"--advertise-address={facts.host}",  # on loopback told to nobody; without it an offline machine has none
        f"--endpoint-reconciler-type={'none' if facts.profile == 'processes' else 'lease'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
        f"--requestheader-client-ca-file={pki / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy.key'}",
        f"--audit-policy-file={layout.root / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.audit_log}",
        f"--audit-log-maxsize={_AUDIT_MEGABYTES}",
    ]


def _controllers(layout: Layout, facts: Facts) -> list[str]:
    pki = layout.pki
    return [
        *_client_of(layout.kubeconfig("controllers")),
        f"--secure-port={facts.ports['controllers']}",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
    ]


def _scheduler(layout: Layout, facts: Facts) -> list[str]:
    # With SchedulerPopFromBackoffQ a pod is tried again the moment its claim is bound, sometimes before the scheduler's
    # own cache of claims knows of it; then nothing wakes it for 5 minutes. The pause of 1 s without it hides that race.
    return [
        *_client_of(layout.kubeconfig("scheduler")),
        f"--secure-port={facts.ports['scheduler']}",
        "--feature-gates=SchedulerPopFromBackoffQ=false",
    ]


def _client_of(kubeconfig: Path) -> list[str]:
    """Flags that the controllers and the scheduler have in common."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        *_FAST,
    ]
