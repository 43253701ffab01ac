"""The stand-in kubelet runs what a pod asks for, as a real one does; those marked are run on a real one, too."""

import json
import os
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import APP, MakePod
from tests.cluster.kube import Kube, condition, container, fetch, is_ready, terminated, until

pytestmark = pytest.mark.cluster

READINESS = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}


def read(pod: dict[str, Any], path: str) -> str:
    """A file as the pod's own process sees it."""
    return fetch(pod, f"/read?path={path}")[1]


def _claim(kube: Kube, name: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kube.create("persistentvolumeclaims", {"metadata": {"name": name}, "spec": spec})


ENV = [
    {"name": "LITERAL", "value": "a"},
    {"name": "EXPANDED", "value": "$(LITERAL)-$(NOT_THERE)-$$(LITERAL)"},
    {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
    {"name": "DB", "value": "/data/journal.db"},
    {"name": "SECRET_FILE", "value": "/secrets/key"},
    {"name": "NAME_FILE", "value": "/info/name"},
]
VOLUMES: list[dict[str, Any]] = [
    {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    {"name": "secrets", "secret": {"secretName": "s", "defaultMode": 0o400}},
    {"name": "info", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
]


def _full_pod(kube: Kube, make_pod: MakePod) -> tuple[dict[str, Any], dict[str, str]]:
    """A Ready pod with every kind of environment and volume, and the environment of its process."""
    kube.create("secrets", {"metadata": {"name": "s"}, "data": {"key": b64encode(b"hidden").decode()}})
    kube.create("configmaps", {"metadata": {"name": "c"}, "data": {"COLOUR": "blue"}})
    _claim(kube, "data")
    make_pod(
        "serve",
        env=ENV,
        annotations={"note": "hi"},
        envFrom=[{"configMapRef": {"name": "c"}}],
        volumeMounts=[{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in VOLUMES],
        readinessProbe=READINESS,
        spec={"volumes": VOLUMES},
    )
    pod = kube.wait_ready("pod")
    return pod, json.loads(fetch(pod, "/env")[1])


@pytest.mark.any_kubelet
def test_environment_and_volumes(kube: Kube, make_pod: MakePod) -> None:
    """A pod gets literals, downward API, Secret, ConfigMap and claim as environment and files."""
    pod, values = _full_pod(kube, make_pod)
    seen = {key: values.get(key) for key in ("LITERAL", "EXPANDED", "UID", "NOTE", "SECRET", "COLOUR", "POD_IP")}
    assert seen == {
        "LITERAL": "a",
        "EXPANDED": "a-$(NOT_THERE)-$(LITERAL)",
        "UID": pod["metadata"]["uid"],
        "NOTE": "hi",
        "SECRET": "hidden",
        "COLOUR": "blue",
        "POD_IP": pod["status"]["podIP"],
    }
    assert read(pod, values["SECRET_FILE"]) == "hidden"
    assert fetch(pod, f"/mode?path={values['SECRET_FILE']}")[1] == "400"
    assert read(pod, values["NAME_FILE"]) == "pod"
    fetch(pod, f"/write?path={values['DB']}&text=row")
    volume = (kube.get("persistentvolumeclaims/data") or {})["spec"]["volumeName"]
    folder = (kube.get(f"/api/v1/persistentvolumes/{volume}") or {})["spec"]["hostPath"]["path"]
    assert Path(folder, "journal.db").read_text() == "row"
    assert pod["status"]["hostIP"] != pod["status"]["podIP"]


@pytest.mark.any_kubelet
def test_secret_file_follows_the_secret(kube: Kube, make_pod: MakePod) -> None:
    """A Secret's file changes within a few seconds of the Secret; a real kubelet takes a minute or two."""
    kube.create("secrets", {"metadata": {"name": "s"}, "data": {"key": b64encode(b"old").decode()}})
    make_pod(
        "serve",
        env=[{"name": "FILE", "value": "/secrets/key"}],
        volumeMounts=[{"name": "s", "mountPath": "/secrets"}],
        spec={"volumes": [{"name": "s", "secret": {"secretName": "s"}}]},
        readinessProbe=READINESS,
    )
    pod = kube.wait_ready("pod")
    path = json.loads(fetch(pod, "/env")[1])["FILE"]
    assert read(pod, path) == "old"
    kube.patch("secrets/s", {"data": {"key": b64encode(b"new").decode()}})
    until("the file is new", lambda: read(pod, path) == "new", 10 if kube.is_standin else 150)


@pytest.mark.any_kubelet
def test_missing_secret_is_waited_for(kube: Kube, make_pod: MakePod) -> None:
    """A container whose Secret is missing waits with CreateContainerConfigError, and starts when it comes."""
    make_pod("serve", env=[{"name": "S", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}])
    waiting = kube.wait(
        "pod",
        "the error is shown",
        lambda pod: container(pod).get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError",
    )
    assert 'secret "late" not found' in container(waiting)["state"]["waiting"]["message"]
    kube.create("secrets", {"metadata": {"name": "late"}, "data": {"key": b64encode(b"x").decode()}})
    kube.wait_ready("pod")


def test_readiness_is_written_again(kube: Kube, make_pod: MakePod) -> None:
    """What the node controller wrote of a late node's pods is set right: else they stay unready after an outage."""
    make_pod("serve", readinessProbe=READINESS)
    kube.wait_ready("pod")
    body = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    status, answer = kube.call("PATCH", "pods/pod/status", body, "application/strategic-merge-patch+json")
    assert (status, condition(json.loads(answer), "Ready")) == (200, "False")
    kube.wait_ready("pod")


@pytest.mark.any_kubelet
def test_readiness_flips(kube: Kube, make_pod: MakePod) -> None:
    """Ready follows the readiness probe both ways, and the container is not restarted."""
    make_pod("serve", readinessProbe=READINESS)
    pod = kube.wait_ready("pod")
    fetch(pod, "/set?ready=no")
    kube.wait("pod", "not Ready", lambda pod: condition(pod, "Ready") == "False")
    fetch(pod, "/set?ready=yes")
    assert container(kube.wait_ready("pod"))["restartCount"] == 0


@pytest.mark.any_kubelet
def test_liveness_restarts(kube: Kube, make_pod: MakePod) -> None:
    """A container whose liveness probe fails is ended and started again."""
    make_pod("serve", livenessProbe=READINESS | {"initialDelaySeconds": 1})
    pod = kube.wait_ready("pod")
    until("it serves", lambda: _answers(pod))
    fetch(pod, "/set?ready=no")
    pod = kube.wait("pod", "restarted", lambda pod: container(pod)["restartCount"] == 1)
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 0


def _answers(pod: dict[str, Any]) -> bool:
    try:
        return fetch(pod, "/env")[0] == 200
    except OSError:
        return False


@pytest.mark.any_kubelet
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("end", "0"), ("Succeeded", 0, "Completed", "")),
        (("end", "3", "out of ideas"), ("Failed", 3, "Error", "out of ideas")),
    ],
)
def test_exit_code_and_message(
    kube: Kube, make_pod: MakePod, words: tuple[str, ...], expected: tuple[str, int, str, str]
) -> None:
    """With restartPolicy Never the exit code, reason and termination message are the pod's last word."""
    make_pod(*words, spec={"restartPolicy": "Never"})
    pod = kube.wait("pod", "ended", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    end = terminated(pod)
    assert (pod["status"]["phase"], end["exitCode"], end["reason"], end.get("message", "")) == expected
    assert container(pod)["restartCount"] == 0
    assert not is_ready(pod)


@pytest.mark.any_kubelet
def test_message_falls_back_to_the_log(kube: Kube, make_pod: MakePod) -> None:
    """FallbackToLogsOnError takes the log's tail when the process left no message."""
    make_pod("end", "4", terminationMessagePolicy="FallbackToLogsOnError", spec={"restartPolicy": "Never"})
    assert terminated(kube.wait("pod", "ended", terminated))["message"] == "ending with 4\n"


@pytest.mark.any_kubelet
def test_killed_process_is_137(kube: Kube, make_pod: MakePod) -> None:
    """A process that a test kills by its documented pid file ends with 137."""
    make_pod("stubborn", spec={"restartPolicy": "Never"})
    os.kill(kube.pid(kube.wait_ready("pod")), 9)
    assert terminated(kube.wait("pod", "ended", terminated))["exitCode"] == 137


@pytest.mark.any_kubelet
def test_always_restarts_with_backoff(kube: Kube, make_pod: MakePod) -> None:
    """With restartPolicy Always a container that ends is started again, and waits in CrashLoopBackOff between."""
    make_pod("end", "1")
    kube.wait("pod", "two restarts", lambda pod: container(pod).get("restartCount", 0) >= 2)
    pod = kube.wait("pod", "backing off", lambda pod: "CrashLoopBackOff" in str(container(pod).get("state")))
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 1
    assert pod["status"]["phase"] == "Running"


@pytest.mark.any_kubelet
def test_missing_command_is_a_start_error(kube: Kube, make_pod: MakePod) -> None:
    """A command that is not there ends the container with 128 and StartError."""
    make_pod(command=["no-such-program"], spec={"restartPolicy": "Never"})
    assert terminated(kube.wait("pod", "ended", terminated))["reason"] == "StartError"


def test_leftover_children_die_with_the_container(kube: Kube, make_pod: MakePod) -> None:
    """Descendants that fled into a session of their own are killed when the container's process ends."""
    make_pod("spawn", spec={"restartPolicy": "Never"})
    kube.wait("pod", "ended", terminated)
    child = int(kube.logs("pod"))
    until("the child is gone", lambda: not Path(f"/proc/{child}/exe").exists())


@pytest.mark.any_kubelet
def test_init_containers_run_in_order(kube: Kube, make_pod: MakePod) -> None:
    """Init containers run one after the other, before the containers."""
    shared = {"image": "registry.local/app:v1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    inits = [
        shared | {"name": "first", "command": ["sh", "-c", "echo 1 >> $0", "/v/order"]},
        shared | {"name": "second", "command": ["sh", "-c", "echo 2 >> $0", "/v/order"]},
    ]
    make_pod(
        "serve",
        env=[{"name": "ORDER", "value": "/v/order"}],
        volumeMounts=shared["volumeMounts"],
        readinessProbe=READINESS,
        spec={"initContainers": inits, "volumes": [{"name": "v", "emptyDir": {}}]},
    )
    pod = kube.wait_ready("pod")
    assert read(pod, json.loads(fetch(pod, "/env")[1])["ORDER"]) == "1\n2\n"


@pytest.mark.any_kubelet
def test_failed_init_container_fails_the_pod(kube: Kube, make_pod: MakePod) -> None:
    """With restartPolicy Never a failing init container ends the pod; its containers never start."""
    init = {"name": "init", "image": "registry.local/app:v1", "command": ["sh", "-c", "exit 5"]}
    make_pod("serve", spec={"restartPolicy": "Never", "initContainers": [init]})
    pod = kube.wait("pod", "failed", lambda pod: pod["status"]["phase"] == "Failed")
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 5
    assert container(pod)["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_unknown_image_until_it_is_there(kube: Kube, make_pod: MakePod, images: Path) -> None:
    """An unknown image waits in ErrImagePull or ImagePullBackOff, and starts once images.yaml names it."""
    make_pod("serve", image="registry.local/app:v2")
    reasons = {"ErrImagePull", "ImagePullBackOff"}
    kube.wait("pod", "waiting", lambda pod: container(pod).get("state", {}).get("waiting", {}).get("reason") in reasons)
    text = images.read_text().rstrip().removesuffix("}")
    images.write_text(f"{text}, 'registry.local/app:v2': {{folder: '{APP}'}}}}\n")
    kube.wait_ready("pod")


@pytest.mark.parametrize(
    ("spec", "agent", "field"),
    [
        ({"hostNetwork": True}, {}, "spec.hostNetwork"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, {}, "spec.volumes[0].hostPath"),
        (
            {},
            {"readinessProbe": {"grpc": {"port": 1}}},
            "spec.containers[0].readinessProbe.grpc",
        ),
    ],
)
def test_refusals_name_the_field(
    kube: Kube, make_pod: MakePod, spec: dict[str, Any], agent: dict[str, Any], field: str
) -> None:
    """What this kubelet cannot do is refused with the name of the field."""
    make_pod("serve", spec=spec, **agent)
    pod = kube.wait("pod", "refused", lambda pod: "CreateContainerConfigError" in str(container(pod).get("state")))
    assert field in container(pod)["state"]["waiting"]["message"]


@pytest.mark.any_kubelet
def test_logs(kube: Kube, make_pod: MakePod) -> None:
    """`kubectl logs` shows the running execution, and --previous the one before."""
    make_pod("serve", readinessProbe=READINESS)
    pod = kube.wait_ready("pod")
    assert kube.logs("pod") == "serving\n"
    os.kill(kube.pid(pod), 15)
    kube.wait("pod", "restarted", lambda pod: container(pod)["restartCount"] == 1 and is_ready(pod))
    assert kube.logs("pod", "previous=true") == "serving\nterminated\n"
    command = [
        str(kube.cluster.kubectl),
        f"--kubeconfig={kube.cluster.kubeconfig}",
        "-n",
        kube.namespace,
        "logs",
        "pod",
    ]
    done = subprocess.run([*command, "--tail=1"], capture_output=True, text=True, check=True)
    assert done.stdout == "serving\n"


def test_service_account_token(kube: Kube, make_pod: MakePod) -> None:
    """A pod speaks to the API server as its service account, through the mounted token."""
    make_pod("whoami", spec={"restartPolicy": "Never"})
    kube.wait("pod", "ended", terminated)
    assert kube.logs("pod") == f"system:serviceaccount:{kube.namespace}:default\n"


def test_no_token_no_api_server(kube: Kube, make_pod: MakePod) -> None:
    """Without a mounted token a pod is told nothing of the API server."""
    make_pod("serve", spec={"automountServiceAccountToken": False}, readinessProbe=READINESS)
    values = json.loads(fetch(kube.wait_ready("pod"), "/env")[1])
    assert not {"KUBERNETES_SERVICE_HOST", "KUBECONFIG"} & values.keys()


def test_exec_is_refused(kube: Kube, make_pod: MakePod) -> None:
    """An exec is refused with a reason that reaches whoever asked."""
    make_pod("stubborn")
    kube.wait_ready("pod")
    status, body = kube.call("POST", "pods/pod/exec?command=true&stdout=true")
    assert status in (403, 422)
    assert "its pods are local processes" in body.decode()
