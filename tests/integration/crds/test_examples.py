"""Every manifest that a reader may copy, from examples/ or from a page, is valid on a real server, strictly."""

import re
from pathlib import Path

import pytest
import yaml
from tests.integration.crds.server import Json, kubectl_input

from localcluster import Cluster

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]


def _troubles(cluster: Cluster, text: str) -> list[str]:
    """What a strict server dry run says against the Kubernetes objects in `text`, in namespace default."""
    troubles = []
    for document in yaml.safe_load_all(text):
        if not isinstance(document, dict) or "apiVersion" not in document:
            continue  # a values file, an images file
        document.get("metadata", {}).pop("namespace", None)  # it need not exist here
        arguments = ["create", "--dry-run=server", "--validate=strict", "-n", "default", "-f", "-"]
        answer = kubectl_input(cluster, arguments, yaml.safe_dump(document), check=False)
        if "(server dry run)" not in answer:
            troubles.append(answer)
    return troubles


def test_every_example_is_valid(cluster: Cluster) -> None:
    """What a reader copies is accepted as it stands, without an unknown or misspelt field."""
    files = [file for ending in ("yaml", "yml", "json") for file in sorted((ROOT / "examples").rglob(f"*.{ending}"))]
    assert files, "there are no examples"
    found = {str(file.relative_to(ROOT)): _troubles(cluster, file.read_text(encoding="utf-8")) for file in files}
    assert {name: troubles for name, troubles in found.items() if troubles} == {}


def test_every_manifest_in_the_documentation_is_valid(cluster: Cluster) -> None:
    """A page's YAML blocks that are Kubernetes objects are accepted as they stand."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    blocks = {
        page: re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for page in pages
    }
    assert blocks[ROOT / "README.md"], "the README shows no manifest"
    found = {str(page.relative_to(ROOT)): _troubles(cluster, "---\n".join(texts)) for page, texts in blocks.items()}
    assert {name: troubles for name, troubles in found.items() if troubles} == {}


@pytest.mark.parametrize("task", [{"agentDeployment": "demo", "inputs": {}}, {"agentDeployment": "Demo"}, {}])
def test_a_wrong_example_is_found(cluster: Cluster, task: Json) -> None:
    """A misspelt field, a wrong value and a missing one are each flagged."""
    run = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentRun", "metadata": {"name": "x"}, "spec": {"task": task}}
    assert len(_troubles(cluster, yaml.safe_dump(run))) == 1
