"""Labelled images, whatever they come from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

RESIDENT_BYTES = 2**31
"""Data sets up to this size (decoded) are decoded once and kept in memory."""

_PIECE = 256
"""Images that are checked between two movements of the bar."""
_LISTED = 20
"""Damaged images that one message names."""
Decode = Callable[[Image.Image], np.ndarray]
"""An opened image to uint8[3, H, W]."""


class DataError(ValueError):
    """Data that cannot be trained on; the message names the folder or file and what is accepted."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded image: a file, or the bytes of one with a name for messages."""

    name: str
    content: bytes | Path

    def decoded(self, decode: Decode) -> np.ndarray:
        """uint8[3, H, W].

        Raises:
            DataError: it cannot be decoded; the message is its name and the reason.
        """
        source = io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content
        try:
            with Image.open(source) as image:
                return decode(image)
        # Damaged files raise anything; each of it means that this one cannot be decoded.
        except Exception as error:
            raise DataError(f"{self.name}: {str(error) or type(error).__name__}") from error

    @property
    def identity(self) -> bytes:
        """The image's bytes; a file's name and size, which cost no reading, stand for its content."""
        if isinstance(self.content, bytes):
            return self.content
        return f"{self.content.name}\0{self.content.stat().st_size}\0".encode(errors="surrogateescape")


class LabelledImages:
    """Images of one size with labels: `pixels(indices)` gives uint8[N, 3, H, W], `labels` is int64[N].

    Small sets are decoded once; of large ones each batch is decoded when it is asked for, by several threads.
    Those are to be checked (`check`) before long work.
    """

    def __init__(
        self,
        source: np.ndarray | Sequence[Encoded],
        labels: np.ndarray,
        classes: Sequence[str],
        decode: Decode,
        size: int,
        *,
        origin: str = "",
        passed_over: Mapping[str, int] | None = None,
    ) -> None:
        """
        Args:
            origin: the folder or column that the labels are from, for messages.
            passed_over: by extension, how many image files there are of types that are not read.

        Raises:
            DataError: naming the images that cannot be decoded, where they are decoded now.
        """
        self.origin = origin
        self.passed_over = dict(passed_over or {})
        self.classes = tuple(classes)
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        self.size = size
        self._decode = decode
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="decode")
        self._encoded: Sequence[Encoded] = () if isinstance(source, np.ndarray) else source
        self._resident: Tensor | None = None
        if isinstance(source, np.ndarray):
            self._resident = torch.from_numpy(np.ascontiguousarray(source))
        elif len(source) * 3 * size * size <= RESIDENT_BYTES:
            self._resident = self._all_decoded(range(len(source)))

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: Tensor) -> Tensor:
        """uint8[N, 3, H, W] of the images at int64 `indices`, wherever they are kept.

        Raises:
            DataError: naming those that cannot be decoded.
        """
        if self._resident is not None:
            return self._resident[indices.to(self._resident.device)]
        return self._all_decoded(indices.tolist())

    def check(self, part: slice, track: Callable[[Sequence[Tensor], str], Iterable[Tensor]]) -> None:
        """Decode the images in `part` of the set once, where they are not in memory, and keep nothing.

        Args:
            track: gives the pieces of this work one by one and shows how far it is.

        Raises:
            DataError: naming those that cannot be decoded.
        """
        if self._resident is not None:
            return
        damaged: list[DataError] = []
        for piece in track(torch.arange(len(self))[part].split(_PIECE), "checking images"):
            damaged += _failures(self._decoded(piece.tolist()))
        _refuse(damaged)

    def digest(self) -> str:
        """SHA-256 (hexadecimal) that changes with the classes, the labels, the images and their order.

        Images that are in memory count by their pixels, those of larger sets by `Encoded.identity`.
        """
        found = hashlib.sha256(json.dumps(self.classes).encode())
        found.update(self.labels.numpy().data)
        if self._resident is not None:
            found.update(self._resident.cpu().numpy().data)
        else:
            for encoded in self._encoded:
                found.update(encoded.identity)
        return found.hexdigest()

    def keep_on(self, device: torch.device) -> None:
        """Keep the decoded images on a CUDA `device` where they take at most a quarter of its free memory."""
        if self._resident is None or device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(device)
        if self._resident.numel() <= free // 4:
            self._resident = self._resident.to(device)

    def spread(self, count: int) -> LabelledImages:
        """`count` images of this set at even distances (folders are sorted by class), decoded."""
        count = min(count, len(self))
        kept = torch.arange(count) * len(self) // count
        pixels = self.pixels(kept).cpu().numpy()
        labels = self.labels[kept].numpy()
        return LabelledImages(
            pixels,
            labels,
            self.classes,
            self._decode,
            self.size,
            origin=self.origin,
            passed_over=self.passed_over,
        )

    def absent_classes(self) -> tuple[str, ...]:
        """Names of the classes that have no image."""
        occurring = set(self.labels.tolist())
        return tuple(name for label, name in enumerate(self.classes) if label not in occurring)

    def batch(self, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """float32[N, 3, H, W] in [0, 1] and labels int64[N] on `device`."""
        return self.pixels(indices).to(device).float() / 255.0, self.labels[indices].to(device)

    def _all_decoded(self, indices: Sequence[int]) -> Tensor:
        found = list(self._decoded(indices))
        _refuse(_failures(found))
        return torch.from_numpy(np.stack([image for image in found if not isinstance(image, DataError)]))

    def _decoded(self, indices: Sequence[int]) -> Iterator[np.ndarray | DataError]:
        def attempt(index: int) -> np.ndarray | DataError:
            try:
                return self._encoded[index].decoded(self._decode)
            except DataError as error:
                return error

        return self._threads.map(attempt, indices)


def _failures(found: Iterable[np.ndarray | DataError]) -> list[DataError]:
    return [failure for failure in found if isinstance(failure, DataError)]


def _refuse(damaged: Sequence[DataError]) -> None:
    """
    Raises:
        DataError: if any is damaged; the message lists them, up to a number.
    """
    if not damaged:
        return
    listed = [f"  {error}" for error in damaged[:_LISTED]]
    if len(damaged) > _LISTED:
        listed.append(f"  and {len(damaged) - _LISTED} more")
    advice = "Replace or remove them. To go on with a run that has begun, put them back as they were."
    raise DataError("\n".join([f"{len(damaged)} images cannot be decoded:", *listed, advice]))
