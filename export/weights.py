"""The one weights file of a bundle, and where each tensor lies in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor, nn

_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Place of one tensor: bytes from the beginning of the file, and how many."""

    offset: int
    length: int


def weights_file(weights: Mapping[str, Tensor]) -> bytes:
    """The safetensors file of `weights`, all float32; the same weights give the same bytes.

    Raises:
        ValueError: a tensor is not float32.
    """
    other = [name for name, tensor in weights.items() if str(tensor.dtype) != "torch.float32"]
    if other:
        raise ValueError(f"these weights are not float32: {other[:5]}; fold the network before exporting it")
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    )


def weights_sha256(folded: nn.Module) -> str:
    """Names the weights of a folded network: the sha256 of their file, as a bundle's manifest lists it."""
    return hashlib.sha256(weights_file(folded.state_dict())).hexdigest()


def tensor_spans(data: bytes) -> dict[str, Span]:
    """Where each tensor of a safetensors file lies.

    The format: a little-endian 64-bit header length, a JSON header with offsets from its own end, then the
        data.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    header = json.loads(data[_LENGTH_BYTES:start])
    spans = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            spans[name] = Span(offset=start + first, length=last - first)
    return spans
