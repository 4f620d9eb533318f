"""LitServe as its documentation shows it. Run with the port and the number of workers."""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve

from benchmarks.serving_load.servers.work import Work


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """One model, one route. The image comes in JSON: uploaded files do not pass LitServe's queue."""

    def setup(self, device: str) -> None:
        """Once in each worker."""
        self._work = Work()

    def decode_request(self, request: dict[str, str]) -> bytes:
        """The bytes of the image."""
        return base64.b64decode(request["image"])

    def predict(self, data: bytes) -> dict[str, Any]:
        """The answer."""
        return self._work.classify(data)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(api_path="/classify"), accelerator="cpu", workers_per_device=int(sys.argv[2])
    )
    server.run(port=int(sys.argv[1]), generate_client_file=False)
