"""The ONNX graphs against torch: every loss, several architectures, open batch axis, weights stored once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from export.fold import fold_batch_norm
from export.graph import IR_VERSION, OPSET, onnx_file
from export.onnx_header import read_header
from export.trace import classifier_program, gradient_program
from export.weights import tensor_spans, weights_file
from probes.classifier import Gradient
from probes.losses import Loss
from tests.export.networks import CLASSES, random_images, small_network, spec
from training.classifier import TorchClassifier
from training.networks import build_network

SMALL = ("compact_resnet", "compact_resnet_stride_1", "max_pool_basic", "norm_before_convolution")


class Exported:
    """A folded network and the files of its graphs."""

    def __init__(self, network: nn.Module, side: int = 16) -> None:
        self.network = fold_batch_norm(network)
        weights = self.network.state_dict()
        self.weights = weights_file(weights)
        places = tensor_spans(self.weights)
        spans = {name: places[name] for name in weights}
        self.classifier = onnx_file(
            classifier_program(self.network, spec(side)), inputs=["images"], outputs=["logits"], spans=spans
        )
        self.gradient = onnx_file(
            gradient_program(self.network, spec(side), classes=CLASSES),
            inputs=["images", "label", "target", "loss"],
            outputs=["logits", "loss_value", "gradient"],
            spans=spans,
        )

    def write(self, folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(self.weights)
        (folder / "classifier.onnx").write_bytes(self.classifier)
        (folder / "gradient.onnx").write_bytes(self.gradient)


@cache
def exported(name: str) -> Exported:
    return Exported(small_network(name))


def choices(count: int, *, loss: Loss) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, targets (every second one none) and the loss."""
    rows = torch.arange(count)
    labels = rows % CLASSES
    return labels, torch.where(rows % 2 == 0, -1, (rows + 2) % CLASSES), torch.full_like(rows, int(loss))


def run_gradient(folder: Path, images: torch.Tensor, *numbers: torch.Tensor) -> Gradient:
    session = onnxruntime.InferenceSession(folder / "gradient.onnx", providers=["CPUExecutionProvider"])
    feed = dict(
        zip(("images", "label", "target", "loss"), (t.numpy() for t in (images, *numbers)), strict=True)
    )
    return Gradient(*session.run(["logits", "loss_value", "gradient"], feed))


def assert_equals_torch(network: nn.Module, folder: Path, images: torch.Tensor, loss: Loss) -> None:
    numbers = choices(len(images), loss=loss)
    got = run_gradient(folder, images, *numbers)
    wanted = TorchClassifier(network).gradient(images, *numbers)
    np.testing.assert_allclose(got.logits, wanted.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.value, wanted.value, rtol=1e-4, atol=1e-5)
    # Rounding may put a ReLU on the other side of zero, which changes a part of one image's gradient and then
    # is right as well. So signs must agree nearly everywhere, and most images exactly; test_trace.py compares
    # all values in float64.
    reference = wanted.gradient.numpy()
    scale = np.abs(reference).max(axis=(1, 2, 3), keepdims=True)
    matters = np.abs(reference) > 0.02 * scale
    assert (np.sign(got.gradient) == np.sign(reference))[matters].mean() > 0.995
    # "At most", because a gradient may be zero everywhere: DLR is flat where the label ranks third and the
    # rival first.
    equal = (np.abs(got.gradient - reference) <= 1e-4 * scale).all(axis=(1, 2, 3))
    assert equal.mean() > 0.6


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("name", SMALL)
def test_gradient_graph_equals_autograd(tmp_path: Path, name: str, loss: Loss) -> None:
    exported(name).write(tmp_path)
    assert_equals_torch(exported(name).network, tmp_path, random_images(8), loss)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18_cifar", "resnet18", "resnet50"])
def test_the_shipped_large_networks(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    whole = Exported(build_network(name, CLASSES).eval(), side=32)
    whole.write(tmp_path)
    assert_equals_torch(whole.network, tmp_path, random_images(3, side=32), Loss.MARGIN)


@pytest.mark.parametrize("count", [1, 3, 17])
def test_any_batch_size(tmp_path: Path, count: int) -> None:
    whole = exported("compact_resnet")
    whole.write(tmp_path)
    images = random_images(count, seed=count)
    session = onnxruntime.InferenceSession(tmp_path / "classifier.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    np.testing.assert_allclose(logits, whole.network(images), rtol=1e-4, atol=1e-5)
    assert_equals_torch(whole.network, tmp_path, images, Loss.DLR)


def test_the_losses_of_one_batch_are_independent(tmp_path: Path) -> None:
    """Each sample has its own loss and target in one batch, and gets what it would get alone."""
    whole = exported("compact_resnet")
    whole.write(tmp_path)
    images = random_images(6)
    labels, targets = torch.arange(6) % CLASSES, torch.tensor([-1, 3, -1, 0, -1, 1])
    losses = torch.arange(6) % len(Loss)
    together = run_gradient(tmp_path, images, labels, targets, losses)
    for row in range(6):
        alone = run_gradient(tmp_path, *(t[row : row + 1] for t in (images, labels, targets, losses)))
        np.testing.assert_allclose(together.value[row], alone.value[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(together.gradient[row], alone.gradient[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", list(Loss))
def test_equal_logits_give_finite_losses_and_gradients(tmp_path: Path, loss: Loss) -> None:
    """DLR is divided by the spread of the largest logits, which is zero here."""
    network = small_network("compact_resnet")
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    Exported(network).write(tmp_path)
    got = run_gradient(tmp_path, random_images(4), *choices(4, loss=loss))
    assert not got.logits.any()
    assert np.isfinite(got.value).all() and np.isfinite(got.gradient).all()


@pytest.mark.parametrize("graph", ["classifier", "gradient"])
@pytest.mark.parametrize("name", ["compact_resnet", "max_pool_basic"])
def test_the_file(tmp_path: Path, name: str, graph: str) -> None:
    """Standard operators, an opset that older runtimes take, an open batch axis, no weights inside."""
    whole = exported(name)
    whole.write(tmp_path)
    path = tmp_path / f"{graph}.onnx"
    onnx.checker.check_model(path, full_check=True)
    header = read_header(path.read_bytes(), source=graph)
    assert (header.opset, header.ir_version) == (OPSET, IR_VERSION)
    assert header.external_locations == {"weights.safetensors"}
    model = onnx.load(path, load_external_data=False)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch", value.name
    stored = {tensor.name for tensor in model.graph.initializer if tensor.external_data}
    assert stored == set(whole.network.state_dict())
    inside = [tensor for tensor in model.graph.initializer if not tensor.external_data]
    assert sum(int(np.prod(tensor.dims)) for tensor in inside) < 200


@pytest.mark.parametrize("graph", ["classifier", "gradient"])
def test_the_file_says_nothing_of_this_machine(graph: str) -> None:
    data: bytes = getattr(exported("compact_resnet"), graph)
    assert b".py" not in data
    assert str(Path(__file__).parents[2]).encode() not in data


def test_exporting_twice_gives_the_same_bytes() -> None:
    first, second = exported("compact_resnet"), Exported(small_network("compact_resnet"))
    assert (second.classifier, second.gradient, second.weights) == (
        first.classifier,
        first.gradient,
        first.weights,
    )


def test_flipped_kernels_are_folded_at_load(tmp_path: Path) -> None:
    """The file turns kernels by Transpose and Slice of the one stored copy; the runtime does it once."""
    exported("compact_resnet").write(tmp_path)
    before = [
        node.op_type for node in onnx.load(tmp_path / "gradient.onnx", load_external_data=False).graph.node
    ]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(tmp_path / "gradient.onnx", options, providers=["CPUExecutionProvider"])
    after = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert before.count("Slice") > 0
    assert before.count("Transpose") > 0
    assert after.count("Slice") == 0
    assert after.count("Transpose") == 0


def test_weights_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="not float32"):
        weights_file({"half": torch.ones(2, dtype=torch.float16)})
