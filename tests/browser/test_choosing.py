"""A picture comes from a file, the clipboard, the camera or the examples; or it is refused with a reason."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import MOST_BYTES
from tests.browser.visitor import Visitor

NAMES = "(all) => all.map((one) => one.dataset.example)"


def _picture(file: Path) -> Path:
    """A red picture, three times as wide as high, with a green middle."""
    image = Image.new("RGB", (120, 40), (200, 30, 30))
    image.paste((30, 200, 30), (40, 0, 80, 40))
    image.save(file)
    return file


def test_a_file_is_classified_as_the_model_sees_it(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open()
    visitor.choose_file(_picture(tmp_path / "wide.png"))
    visitor.wait_classified()
    visitor.page.select_option("#model", "colors")
    visitor.page.wait_for_selector('.facts:has-text("colors version 1")')

    source = visitor.page.get_attribute('img[alt="The picture as the model sees it"]', "src")
    seen = Image.open(io.BytesIO(b64decode(source.split(",")[1])))

    assert visitor.answer == "green"
    assert seen.size == (8, 8)
    # The centre is cut out: of the red margins nothing is left but what resizing mixed in.
    middle = np.asarray(seen)[:, 2:6]
    assert (middle[..., 1] > middle[..., 0]).all()


def test_a_picture_can_be_dropped_and_pasted(visitor: Visitor, examples: Path) -> None:
    visitor.open()
    visitor.drop("mine.png", (examples / "example-automobile.png").read_bytes())
    assert visitor.answer == "automobile"
    assert "mine.png" in visitor.text(".preview figcaption")

    visitor.paste((examples / "example-horse.png").read_bytes())
    visitor.page.wait_for_selector('.answer .label:has-text("horse")')
    assert "image.png" in visitor.text(".preview figcaption")


def test_a_picture_is_taken_with_the_camera(visitor: Visitor) -> None:
    visitor.open()
    visitor.page.get_by_role("button", name="Camera").click()
    visitor.page.wait_for_selector('button:text-is("Take picture"):enabled')
    visitor.page.get_by_role("button", name="Take picture").click()
    visitor.wait_classified()

    assert "camera.png" in visitor.text(".preview figcaption")
    assert visitor.page.locator("dialog").count() == 0


def test_every_example_can_be_chosen(visitor: Visitor, examples: Path) -> None:
    visitor.open()
    names = [path.stem.removeprefix("example-").replace("-", " ") for path in examples.glob("example-*.png")]

    shown = visitor.page.locator("[data-example]").evaluate_all(NAMES)
    assert sorted(shown) == sorted(names)
    for name in names:
        visitor.choose_example(name)
        pressed = visitor.page.locator('[data-example][aria-pressed="true"]')
        assert pressed.evaluate_all(NAMES) == [name]


@pytest.mark.parametrize(
    ("name", "data", "media_type", "said"),
    [
        ("notes.txt", b"hello", "text/plain", "“notes.txt” is not a picture this server reads"),
        ("huge.png", bytes(MOST_BYTES + 1), "image/png", "at most 300.0 kB are accepted"),
        ("none.png", b"", "image/png", "“none.png” is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_once(
    visitor: Visitor, name: str, data: bytes, media_type: str, said: str
) -> None:
    visitor.open()
    visitor.drop(name, data, media_type)

    assert said in visitor.text('.said [role="alert"]')
    assert visitor.page.locator(".answer").count() == 0


def test_what_the_server_refuses_is_said_in_its_words(visitor: Visitor, examples: Path) -> None:
    visitor.open()
    whole = (examples / "example-dog.png").read_bytes()
    visitor.drop("half.png", whole[: len(whole) // 2])
    notice = visitor.page.wait_for_selector('.card [role="alert"]').inner_text()

    assert "The image cannot be decoded." in notice
    assert "send a complete PNG, JPEG or WebP." in notice
    assert "For the operator: request" in notice
    # The next picture is none the worse for it.
    visitor.drop("whole.png", whole)
    assert visitor.answer
