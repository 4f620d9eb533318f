"""Files of a model that runs may be cut off in place: the engine goes on with what it has read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from export.bundle import WEIGHTS, resolve_bundle

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own, for it would be killed by SIGBUS.
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from engines.onnx_runtime import OnnxRuntimeEngine, SessionSettings
from export.bundle import WEIGHTS, load_bundle

bundle = load_bundle(Path(sys.argv[1]))
engine = OnnxRuntimeEngine(bundle, settings=SessionSettings(threads=1))
spec = bundle.manifest.input
images = np.random.default_rng(3).random((2, spec.channels, spec.height, spec.width), dtype=np.float32)
before = engine.logits(images)
with (bundle.path / WEIGHTS).open("r+b") as weights:
    weights.truncate(0)
np.testing.assert_array_equal(engine.logits(images), before)
"""


def test_weights_cut_off_in_place_change_nothing(tmp_path: Path) -> None:
    bundled = resolve_bundle(ROOT / "models", "clead-cifar10")
    bundle = tmp_path / bundled.parent.name / bundled.name
    shutil.copytree(bundled, bundle)

    done = subprocess.run([sys.executable, "-c", SCRIPT, str(bundle)], cwd=ROOT, check=False)

    assert done.returncode == 0
    assert (bundle / WEIGHTS).stat().st_size == 0
