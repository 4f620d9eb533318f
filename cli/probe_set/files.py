"""Which files a probe of many images is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

# What calls itself an image is probed, or listed with the reason why it cannot be; anything else in a folder
# is skipped, unless its content is an image's.
_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif"}
    | {".avif", ".jxl", ".jp2", ".ico", ".ppm", ".pgm", ".svg"}
)
_SIGNATURE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """One file to be probed.

    Attributes:
        path: where it is.
        inside: its path below the folder on the command line; its name, if it was named there itself.
    """

    path: Path
    inside: PurePath

    @property
    def name(self) -> str:
        """The path for people and tables: what cannot be printed is escaped."""
        return printable(str(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file or folder that gave no report, and why. `code` is one of `serving.problems.KINDS`,
    "unreadable" or "empty"."""

    name: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """What lies in the files and folders of a command line.

    Attributes:
        images: each once, in the order of their paths.
        unreadable: folders that cannot be listed.
        skipped: how many files are no images. Hidden files are not even counted.
    """

    images: tuple[ImageFile, ...]
    unreadable: tuple[Failure, ...]
    skipped: int


def find_images(paths: Iterable[Path]) -> FoundFiles:
    """Every image in some files and folders, whatever the order they are named in.

    A file that is named is taken as an image without looking. In folders, and theirs, what is hidden is left
    out; links are followed, and a folder that was seen is not entered again.
    """
    images: list[ImageFile] = []
    unreadable: list[Failure] = []
    skipped: set[Path] = set()
    seen: set[Path] = set()

    def walk(folder: Path, top: Path) -> None:
        real = folder.resolve()
        if real in seen:
            return
        seen.add(real)
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            unreadable.append(unreadable_file(folder, error))
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    walk(entry, top)
                elif _is_image(entry):
                    images.append(ImageFile(path=entry, inside=entry.relative_to(top)))
                else:
                    skipped.add(entry)
            except OSError as error:
                unreadable.append(unreadable_file(entry, error))

    ordered = sorted(set(paths))
    for path in ordered:
        if path.is_dir():
            walk(path, path)
    images += [ImageFile(path=path, inside=PurePath(path.name)) for path in ordered if not path.is_dir()]
    once = {image.path.resolve(): image for image in reversed(images)}
    return FoundFiles(
        images=tuple(sorted(once.values(), key=lambda image: image.path)),
        unreadable=tuple(unreadable),
        skipped=len(skipped),
    )


def printable(text: str) -> str:
    """`text` with control characters, lone surrogates and the like as backslash escapes.

    A file may be called anything: a name must neither break the lines of a table nor steer a terminal.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def unreadable_file(path: Path, error: OSError) -> Failure:
    """The failure of a file or folder that the system does not let us read."""
    return Failure(
        name=printable(str(path)), code="unreadable", reason=f"cannot be read: {error.strerror or error}"
    )


def _is_image(path: Path) -> bool:
    # A pipe or a socket would keep the reader waiting for ever. A link to nothing is listed as unreadable.
    if path.suffix.lower() in _SUFFIXES:
        return path.is_file() or not path.exists()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_SIGNATURE_BYTES)
    return start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (
        start.startswith(b"RIFF") and start[8:] == b"WEBP"
    )
