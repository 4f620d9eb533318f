"""Which libraries a shared library of Linux on x86-64 needs: the DT_NEEDED entries of its ELF file."""

from __future__ import annotations

import struct
from pathlib import Path

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRINGS = 1, 5


def needed(library: Path) -> list[str]:
    """Names of the libraries that the dynamic loader loads with it; raises ValueError if it is no such file.

    System V ABI, chapters 4 and 5 (64-bit, little endian).
    """
    with library.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{library} is no 64-bit little-endian ELF file")
        table, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        file.seek(table)
        content = file.read(size * count)
        # Type, flags, offset in the file, address, physical address, size in the file.
        segments = [struct.unpack_from("<IIQQQQ", content, row * size) for row in range(count)]
        _, _, offset, _, _, length = next(segment for segment in segments if segment[0] == _DYNAMIC)
        file.seek(offset)
        entries = list(struct.iter_unpack("<QQ", file.read(length)))
        strings = next(value for tag, value in entries if tag == _STRINGS)
        base = next(
            address - start
            for kind, _, start, address, _, extent in segments
            if kind == _LOAD and address <= strings < address + extent
        )
        names = []
        for tag, value in entries:
            if tag == _NEEDED:
                file.seek(strings - base + value)
                names.append(file.read(256).partition(b"\0")[0].decode())
        return names
