"""Batch norm as part of the convolution before it, which it can be in eval mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def convolutions_before(module: nn.Module) -> dict[str, str]:
    """The name of the convolution before each nn.BatchNorm2d, by that one's name.

    Left out is a batch norm that does not follow a convolution, or not one that is called once and has no
    other user.

    Raises:
        ValueError: `module` cannot be traced by torch.fx (its forward depends on values).
    """
    layers = dict(module.named_modules())
    try:
        nodes = _Tracer().trace(module).nodes
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ValueError(f"the network cannot be traced by torch.fx: {error}") from error
    calls = [str(node.target) for node in nodes if node.op == "call_module"]
    before = {}
    for node in nodes:
        if node.op != "call_module" or not isinstance(layers[node.target], nn.BatchNorm2d):
            continue
        source = node.args[0]
        if source.op != "call_module" or not isinstance(layers[source.target], nn.Conv2d):
            continue
        if len(source.users) == 1 and calls.count(source.target) == 1 == calls.count(node.target):
            before[str(node.target)] = str(source.target)
    return before


@contextmanager
def batch_norm_folded(module: nn.Module, convolutions: Mapping[str, str]) -> Iterator[None]:
    """Within, batch norms of `module`, which is in eval mode, do nothing: their convolutions do their part.

    This changes outputs and input gradients by rounding only, and saves a pass over the activations each way.
    Weights and statistics stay as they are; if they change within, that is not followed. It does not nest.

    Args:
        convolutions: what `convolutions_before` says.
    """
    layers = dict(module.named_modules())
    folded: list[nn.Module] = []
    try:
        for name, before in convolutions.items():
            convolution, norm = layers[before], layers[name]
            if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                raise TypeError(f"{before} and {name} are no convolution and its batch norm")
            mean, variance = norm.running_mean, norm.running_var
            # Without running statistics it normalises by those of the batch, in eval mode too.
            if mean is None or variance is None:
                continue
            weight, bias = fuse_conv_bn_weights(
                convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
            )
            # An instance's own `forward` goes before its class's.
            vars(convolution)["forward"] = partial(
                convolution._conv_forward, weight=weight.detach(), bias=bias.detach()
            )
            vars(norm)["forward"] = _unchanged
            folded += [convolution, norm]
        yield
    finally:
        for layer in folded:
            del vars(layer)["forward"]


def _unchanged(images: Tensor) -> Tensor:
    return images


class _Tracer(fx.Tracer):
    """Counts subclasses of batch norm (that of several processes) as layers too, and does not enter them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d) or bool(super().is_leaf_module(m, module_qualified_name))
