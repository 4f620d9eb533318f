"""What a person does on the page, and what they see."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TRANSFER = """([name, type, data]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
    return transfer;
}"""


class Visitor:
    """One page in one browser.

    Attributes:
        mistakes: errors that the page's scripts or its security policy raised.
        strangers: addresses outside of the server that the page asked for.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.mistakes: list[str] = []
        self.strangers: list[str] = []
        page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        page.on("console", self._note)
        page.on("request", self._see)

    def open(self, fragment: str = "") -> None:
        """Opens the page and waits until it can be used."""
        self.page.goto(f"{self.url}/ui/{fragment}")
        self.page.wait_for_selector(".examples button", state="attached")

    def choose_example(self, name: str) -> None:
        self.page.click(f'[data-example="{name}"]')
        self.page.wait_for_selector(f'.preview figcaption:text-is("Example: {name}")', state="attached")
        self.wait_classified()

    def choose_file(self, file: Path) -> None:
        self.page.set_input_files("#file", file)

    def drop(self, name: str, data: bytes, media_type: str = "image/png") -> None:
        transfer = self._transfer(name, data, media_type)
        self.page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})

    def paste(self, data: bytes) -> None:
        transfer = self._transfer("image.png", data, "image/png")
        transfer.evaluate(
            "(transfer) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer }))"
        )

    def wait_classified(self) -> None:
        self.page.wait_for_selector(".answer .label")

    def wait_classified_anywhere(self) -> None:
        """Waits for the classification, also where another view hides it."""
        self.page.wait_for_selector(".answer .label", state="attached")

    @property
    def answer(self) -> str:
        """The label that the classification names first."""
        self.wait_classified()
        return str(self.page.locator(".bars .name").first.inner_text())

    def start_probe(self) -> None:
        self.page.get_by_role("button", name="Probe", exact=True).click()

    def probe(self) -> None:
        """Probes, and waits for the verdict."""
        self.start_probe()
        self.page.wait_for_selector("#probe-view .outcome")

    def more_settings(self, values: Mapping[str, str]) -> None:
        """Opens the further settings and fills in some."""
        self.more_settings_open()
        for name, value in values.items():
            control = self.page.locator(f"#p-{name}")
            if control.evaluate("(element) => element.tagName") == "SELECT":
                control.select_option(value)
            else:
                control.fill(value)

    def more_settings_open(self) -> None:
        self.page.locator(".more").evaluate("(element) => { element.open = true; }")

    def text(self, selector: str) -> str:
        """What is seen at the first element of a selector."""
        return str(self.page.locator(selector).first.inner_text())

    def download(self, button: str, folder: Path) -> Path:
        """Presses a button that saves a file."""
        with self.page.expect_download() as caught:
            self.page.get_by_role("button", name=button, exact=True).click()
        file = folder / caught.value.suggested_filename
        caught.value.save_as(file)
        return file

    def report(self, folder: Path) -> Mapping[str, Any]:
        """The report that is shown, as it is downloaded."""
        found: Mapping[str, Any] = json.loads(self.download("Report (JSON)", folder).read_text())
        return found

    def copied(self, button: str) -> str:
        """What a button copies to the clipboard."""
        self.page.get_by_role("button", name=button, exact=True).click()
        self.page.wait_for_selector('button:text-is("Copied")')
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def focused(self, selector: str) -> bool:
        return bool(self.page.evaluate("(selector) => document.activeElement.matches(selector)", selector))

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Presses Tab until the focus is where it should be."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.focused(selector):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    def _transfer(self, name: str, data: bytes, media_type: str) -> Any:
        return self.page.evaluate_handle(_TRANSFER, [name, media_type, base64.b64encode(data).decode()])

    def _note(self, message: Any) -> None:
        # A refusal of the server is no mistake of the page, but browsers log it as an error.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.mistakes.append(message.text)

    def _see(self, request: Any) -> None:
        if not re.match(rf"{re.escape(self.url)}/|data:|blob:", request.url):
            self.strangers.append(request.url)
