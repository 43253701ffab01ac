"""Images: a name maps to a folder and an interpreter, by images.yaml, which is read again whenever it changes."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from localcluster.errors import LocalClusterError


@dataclass(frozen=True)
class Image:
    """What an image name stands for."""

    folder: Path  # the working folder of its containers
    interpreter: Path  # a python; its folder comes first on PATH
    command: tuple[str, ...]  # what runs when the pod names no command; may be empty


class UnknownImage(LocalClusterError):
    """No such image; what a failed pull is on a real node."""


class Images:
    """The images.yaml in use.

    Args:
        link: a symbolic link to it, which `up --images` replaces.
        interpreter: the interpreter of images that name none.
    """

    def __init__(self, link: Path, interpreter: Path) -> None:
        self._link = link
        self._interpreter = interpreter
        self._read: tuple[object, dict[str, Image]] = (None, {})

    def version(self) -> object:
        """A value that changes when the file does."""
        try:
            stat = self._link.stat()
        except FileNotFoundError:
            return None
        return (os.fspath(self._link.resolve()), stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def find(self, name: str) -> Image:
        """The image of this name.

        Raises:
            UnknownImage: it is not in the file, its folder is not there, or the file cannot be read.
        """
        version = self.version()
        if version != self._read[0]:
            self._read = (version, self._load())
        image = self._read[1].get(name)
        if image is None:
            raise UnknownImage(f'failed to pull "{name}": not found: images.yaml does not name it')
        if not image.folder.is_dir():
            raise UnknownImage(f'failed to pull "{name}": not found: its folder {image.folder} is not there')
        return image

    def _load(self) -> dict[str, Image]:
        """Parse the file; paths are relative to it."""
        if not self._link.exists():
            return {}
        file = self._link.resolve()
        return parse(file.read_text(), file.parent, self._interpreter)


def parse(text: str, base: Path, interpreter: Path) -> dict[str, Image]:
    """The images of an images.yaml.

    Raises:
        UnknownImage: the text is not of the documented form.
    """
    try:
        entries = (yaml.safe_load(text) or {})["images"]
        return {
            name: Image(
                folder=Path(os.path.normpath(base / entry["folder"])),
                # no symbolic link is followed: a virtual environment's python is one
                interpreter=base / entry["interpreter"] if entry.get("interpreter") else interpreter,
                command=tuple(entry.get("command") or ()),
            )
            for name, entry in entries.items()
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as err:
        raise UnknownImage(f"cannot read images.yaml: {err!r}; its form is images: {{NAME: {{folder: PATH}}}}") from err


def default_interpreter() -> Path:
    """The interpreter that runs the kubelet itself."""
    return Path(sys.executable)
