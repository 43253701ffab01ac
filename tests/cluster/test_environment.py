"""Environment, command and paths of a container, as values."""

from pathlib import Path
from typing import Any

import pytest

from localcluster.kubelet import environment
from localcluster.kubelet.environment import BadConfig

MOUNTS = {"/data": Path("/real/d"), "/data/deep": Path("/real/deep"), "/tmp": Path("/tmp/real")}  # noqa: S108
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": 'say "hi"', "b": "2"}},
    "spec": {"nodeName": "node-1"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $(A", "$A ${A} $(A"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    """$(NAME) is replaced when the name is known, and $$ is one $."""
    assert environment.expand(text, {"A": "1", "B": ""}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/real/d"),
        ("/data/x", "/real/d/x"),
        ("/data/deep/x", "/real/deep/x"),
        ("/database", "/database"),
        ("file:/data", "file:/data"),
        ("/tmp/x", "/tmp/real/x"),  # noqa: S108
    ],
)
def test_rewrite(text: str, expected: str) -> None:
    """A leading mountPath becomes the real folder; whole path parts only, the longest wins."""
    assert environment.rewrite(text, MOUNTS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("--db=/data/x", "--db=/real/d/x"), ("/data/a=b", "/real/d/a=b"), ("--x=y=/data", "--x=y=/data")],
)
def test_rewrite_word(text: str, expected: str) -> None:
    """In words of a command the part behind the first = counts too."""
    assert environment.rewrite_word(text, MOUNTS) == expected


def test_merge_rewrites_once() -> None:
    """A value that refers to an earlier one is not rewritten again, though the real folder lies below a mountPath."""
    merged = environment.merge({}, [("A", "/tmp/a"), ("B", "$(A)/b"), ("A", "2")], MOUNTS)  # noqa: S108
    assert merged == {"A": "2", "B": "/tmp/real/a/b"}  # noqa: S108


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.labels['b']", "2"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'a="say \\"hi\\""\nb="2"'),
        ("status.podIP", "127.1.1.1"),
        ("status.hostIP", "127.1.0.1"),
        ("spec.serviceAccountName", "default"),
    ],
)
def test_field(path: str, expected: str) -> None:
    """The downward API gives what a real kubelet gives."""
    assert environment.field(POD, path, "127.1.1.1", "127.1.0.1") == expected


def test_unknown_field_is_refused_by_name() -> None:
    """A field that is not supported is named."""
    with pytest.raises(BadConfig, match=r"spec\.priority"):
        environment.field(POD, "spec.priority", "", "")


def test_command() -> None:
    """The pod's command wins over the image's, args are added to either, and no command at all is an error."""
    values = {"A": "1"}
    assert environment.command_of({"args": ["$(A)"]}, ("run",), values, {}) == ["run", "1"]
    assert environment.command_of({"command": ["x"], "args": ["y"]}, ("run",), values, {}) == ["x", "y"]
    with pytest.raises(BadConfig, match="no command"):
        environment.command_of({}, (), values, {})


def test_sub_path_stays_inside(tmp_path: Path) -> None:
    """A subPath is a folder of its volume and cannot leave it."""
    mounts = [{"name": "v", "mountPath": "/m", "subPath": "a/b"}]
    assert environment.mounts_of({"volumeMounts": mounts}, {"v": tmp_path}) == {"/m": tmp_path / "a/b"}
    assert (tmp_path / "a/b").is_dir()
    with pytest.raises(BadConfig, match=r"\.\."):
        environment.mounts_of({"volumeMounts": [mounts[0] | {"subPath": "../x"}]}, {"v": tmp_path})
