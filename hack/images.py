"""Builds the images of this project, `make images`: operator, agent base, example and test agents, as one OCI archive.

buildah builds them from the Dockerfiles, without a container engine, a registry, or a network inside the build. Each is
cached by its content in the user's cache folder, and so is the base that mmdebstrap makes.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hack import wheels
from localcluster import binary

ROOT = Path(__file__).resolve().parent.parent
RELEASE = "0.1.0"
OPERATOR = f"docker.io/pinfleet/operator:{RELEASE}"
AGENT = f"docker.io/pinfleet/agent:{RELEASE}"
_NEEDED = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
_SLIM = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
_BASE = ["--variant=minbase", "--include=python3,python3-venv,ca-certificates", *_SLIM, "bookworm"]


@dataclass(frozen=True)
class Image:
    """One image to build."""

    name: str  # with its tag
    dockerfile: Path
    base: str  # the image that BASE names
    context: Path | None = None  # a folder; None: `wheels/` of `package`
    package: str = ""


def _agent(name: str, folder: str) -> Image:
    return Image(name, ROOT / "examples" / "Dockerfile", AGENT, ROOT / folder)


IMAGES = (
    Image(OPERATOR, ROOT / "images" / "operator" / "Dockerfile", "base", package="pinfleet-operator"),
    Image(AGENT, ROOT / "images" / "agent" / "Dockerfile", "base", package="pinfleet"),
    _agent("registry.local/quickstart:v1", "examples/quickstart/v1"),
    _agent("registry.local/quickstart:v2", "examples/quickstart/v2"),
    _agent("registry.local/support:v1", "examples/support"),
    _agent("registry.local/steps:v1", "tests/integration/agents/steps"),
    _agent("registry.local/app:v1", "tests/cluster/app"),
)


class Builder:
    """Builds into a storage of its own, below the cache folder."""

    def __init__(self, tell: wheels.Tell) -> None:
        self._tell = tell
        self._cache = binary.cache_folder() / "images"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._built: dict[str, str] = {}  # image name -> name in the storage, which holds its fingerprint

    def archive(self) -> Path:
        """A folder with one archive of every image, built as far as it is not there yet."""
        self._built["base"] = self._base()
        for image in IMAGES:
            self._built[image.name] = self._build(image)
        target = self._cache / "archives" / _hash(*self._built.values())
        if not target.exists():
            self._tell("packing the images into one archive")
            self._pack(target)
        return target

    def _base(self) -> str:
        """Debian with Python, made once."""
        dockerfile = ROOT / "images" / "base" / "Dockerfile"
        name = f"localhost/base:{_hash(dockerfile.read_text(), *_BASE)}"
        if self._has(name):
            return name
        context = self._cache / "base"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        self._tell("making a Debian base with Python by mmdebstrap (about 60 MB to fetch, once)")
        run("mmdebstrap", "--mode=root", "--quiet", *_BASE, str(context / "base.tar"))
        self._bud(name, dockerfile, context, [])
        shutil.rmtree(context)
        return name

    def _build(self, image: Image) -> str:
        """One image; nothing to do when this very content was built before."""
        base = self._built[image.base]
        context = image.context or wheels.folder_for(image.package, self._tell)
        content = [f"{path.relative_to(context)} {hash_of(path)}" for path in files(context)]
        stem = image.name.rpartition(":")[0].rpartition("/")[2]
        name = f"localhost/{stem}:{_hash(image.name, base, image.dockerfile.read_text(), *content)}"
        if self._has(name):
            return name
        self._tell(f"building {image.name}")
        if image.context is not None:
            self._bud(name, image.dockerfile, context, [f"--build-arg=BASE={base}"])
            return name
        staged = self._cache / "context"
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(context, staged / "wheels")
        self._bud(name, image.dockerfile, staged, [f"--build-arg=BASE={base}"])
        shutil.rmtree(staged)
        return name

    def _pack(self, target: Path) -> None:
        """All images in one OCI layout, so that what they share is in it once; then one tar."""
        layout, scratch = self._cache / "layout", target.with_suffix(".new")
        for folder in (layout, scratch):
            shutil.rmtree(folder, ignore_errors=True)
        scratch.mkdir(parents=True)
        for image in IMAGES:
            where = f"oci:{layout}:{image.name}"  # not compressed: then a layer that is there is not packed again
            self._buildah("push", "--quiet", "--disable-compression", self._built[image.name], where)
        index = layout / "index.json"
        content = json.loads(index.read_text())
        for manifest in content["manifests"]:  # the annotation by which containerd names what it imports
            marks = manifest["annotations"]
            marks["io.containerd.image.name"] = marks["org.opencontainers.image.ref.name"]
        index.write_text(json.dumps(content))
        with tarfile.open(scratch / "images.tar", "w") as tar:
            for path in sorted(layout.iterdir()):
                tar.add(path, arcname=path.name)
        shutil.rmtree(layout)
        scratch.rename(target)

    def _has(self, name: str) -> bool:
        return self._buildah("images", "--quiet", "--filter", f"reference={name}").strip() != ""

    def _bud(self, name: str, dockerfile: Path, context: Path, arguments: list[str]) -> None:
        where = ["--tag", name, "--file", str(dockerfile), "--pull-never", *arguments, str(context)]
        self._buildah("bud", "--quiet", "--layers", "--isolation=chroot", *where)

    def _buildah(self, *arguments: str) -> str:
        # in a mount namespace of its own: the overlay driver leaves a mount behind
        storage = self._cache / "storage"
        places = [f"--root={storage / 'root'}", f"--runroot={storage / 'run'}", "--storage-driver=overlay"]
        return run("unshare", "--mount", "--propagation=private", "buildah", *places, *arguments)


def run(*command: str) -> str:
    """Run a command; its output. Its own words are shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def files(folder: Path) -> list[Path]:
    """Every file below, compiled Python apart."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def hash_of(path: Path) -> str:
    """A hash of one file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def missing_packages() -> list[str]:
    """Debian's names of what is not there."""
    return [package for command, package in _NEEDED.items() if shutil.which(command) is None]


def lacking() -> list[str]:
    """What this machine lacks to build images, a line each."""
    packages = missing_packages()
    install = f"apt-get install --no-install-recommends {' '.join(packages)}"
    lines = [f"packages are missing: {install}"] if packages else []
    if os.geteuid() != 0:
        lines.append("images are built as root: mmdebstrap and buildah unpack files of other users")
    return lines


def main() -> int:
    """Build all and say where they are."""
    if lines := lacking():
        sys.exit("cannot build images:\n" + "\n".join(f"- {line}" for line in lines))
    folder = Builder(lambda line: print(line, flush=True)).archive()
    print(f"{folder / 'images.tar'}: " + ", ".join(image.name for image in IMAGES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
