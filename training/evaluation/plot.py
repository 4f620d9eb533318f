"""Draws the curve of accuracy over eps."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure as Drawing

from training.evaluation.figures import Curve, wilson

_DOTS_PER_INCH = 150


def draw_curve(curve: Curve, *, title: str, trained_eps: float | None) -> Drawing:
    """Accuracy in per cent under attack (line, with its 95% band) and under noise of the same size (dashed).

    The lines differ in stroke and marker, so the picture can be read without colours. An l-inf eps is in
    units of 1/255 of the range of a pixel, an l2 or l1 eps is the length over all values of an image in
    [0, 1].

    Args:
        trained_eps: marked by a vertical line, in [0, 1] pixels; None marks nothing.
    """
    scale = 255.0 if curve.norm == "linf" else 1.0
    eps = [scale * point.eps for point in curve.points]
    attacked = [100.0 * point.attacked for point in curve.points]
    noise = [100.0 * point.noise for point in curve.points]
    bands = [wilson(point.attacked, curve.n) for point in curve.points]
    drawing = Drawing(figsize=(6.4, 4.0), layout="constrained")
    axes = drawing.add_subplot()
    axes.fill_between(
        eps,
        [100.0 * low for low, _ in bands],
        [100.0 * high for _, high in bands],
        color="0.8",
        label="95% interval",
    )
    axes.plot(eps, attacked, color="black", marker="o", markersize=4, label=f"under {curve.attack.upper()}")
    axes.plot(
        eps,
        noise,
        color="0.35",
        linestyle="--",
        marker="s",
        markersize=4,
        markerfacecolor="white",
        label="under noise of the same size",
    )
    if trained_eps is not None:
        axes.axvline(
            scale * trained_eps, color="black", linestyle=":", label=f"trained for {scale * trained_eps:.3g}"
        )
    unit = "1/255 of the pixel range" if curve.norm == "linf" else "length, pixels in [0, 1]"
    axes.set_xlabel(f"ε, {'l∞' if curve.norm == 'linf' else curve.norm} [{unit}]")
    axes.set_ylabel(f"accuracy [%] on {curve.n} test images")
    axes.set_xlim(0.0, max(eps[-1], 0.0 if trained_eps is None else scale * trained_eps) * 1.02)
    axes.set_ylim(0.0, 100.0)
    axes.set_title(title)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    return drawing


def write_png(drawing: Drawing, path: Path) -> None:
    """Write `drawing` to `path`; a file there stays whole until the new one is.

    Raises:
        OSError: the folder cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        drawing.savefig(unfinished, format="png", dpi=_DOTS_PER_INCH)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
