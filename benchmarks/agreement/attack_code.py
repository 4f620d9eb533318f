"""The code that results are results of: hashes that change with what it does, not with its description."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PROBES = "probes"
"""Where our attacks lie."""
_CERTIFYING = frozenset({"certificate.py", "clopper_pearson.py", "smoothing.py"})
"""There too, but without a part in any attack: what bounds the smoothed classifier."""


def code_digests(*places: str, root: Path = REPOSITORY) -> dict[str, str]:
    """A SHA-256 of the Python code at each of `places`, files or folders below `root`.

    Comments, docstrings and layout do not count: hours of results need not go for a better word.
    """
    return {place: _digest(root / place) for place in places}


def changed_since(digests: Mapping[str, str], *, root: Path = REPOSITORY) -> list[str]:
    """The places among those of `digests` where the code is another one today, or is gone."""
    return [place for place, digest in code_digests(*digests, root=root).items() if digest != digests[place]]


def _digest(place: Path) -> str:
    digest = hashlib.sha256()
    attacking = (path for path in sorted(place.rglob("*.py")) if path.name not in _CERTIFYING)
    for path in attacking if place.is_dir() else [place]:
        name = path.relative_to(place).as_posix()
        code = _without_words(path.read_text(encoding="utf-8")) if path.exists() else ""
        digest.update(f"{name}\0{code}\0".encode())
    return digest.hexdigest()


def _without_words(source: str) -> str:
    # Source again and no dump of the tree, whose form is another one from Python to Python.
    return ast.unparse(_Bare().visit(ast.parse(source)))


class _Bare(ast.NodeTransformer):
    """Takes out the strings that stand by themselves."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else node
