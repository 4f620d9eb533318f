"""Requests made up from the server's own OpenAPI document, right and wrong: every answer is as it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.access.keys import entry_of, new_key
from serving.openapi.document import openapi_document
from serving.settings import Settings
from serving.uploads.images import MEDIA_TYPES
from tests.serving import pictures
from tests.serving.conftest import Server, running_server

CASES = 8
"""For each operation."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
KEY, OTHER = new_key(), new_key()
KNOWN = {"name": "colors", "version": "1"}
PATHS = [
    (method, path)
    for path, methods in openapi_document(Settings(), version="1")["paths"].items()
    for method in methods
]


@pytest.fixture(scope="module")
def keyed(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    everything = ("classify", "probe", "probe:images")
    # The other key is soon over its quota.
    entries = (
        entry_of(KEY, name="all", scopes=everything, rate=None, burst=None),
        entry_of(OTHER, name="few", scopes=("classify",), rate="10/h", burst=None),
    )
    settings = {
        "CLEAD_MODELS_DIR": str(models_dir),
        "CLEAD_KEYS": ",".join(entries),
        "CLEAD_PROBE_MAX_DEADLINE_MS": "500",
        "CLEAD_PROBE_DEADLINE_MS": "500",
    }
    with running_server(tmp_path_factory.mktemp("fuzzed"), settings) as server:
        yield server


@pytest.fixture(scope="module")
def document(keyed: Server) -> Any:
    """The document that the server gives; where it wants an image, mostly one is sent."""
    image = st.sampled_from([pictures.plain(), pictures.plain((3, 9, 200))])
    for media in (*MEDIA_TYPES, "application/octet-stream"):
        schemathesis.openapi.media_type(media, image | st.binary(max_size=64))
    return schemathesis.openapi.from_url(f"{keyed.url}/openapi.json")


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_answer_is_as_the_document_says(
    document: Any, method: str, path: str, record_property: Callable[[str, object], None]
) -> None:
    operation, seen = document[path][method], list[int]()
    known = {name: value for name, value in KNOWN.items() if f"{{{name}}}" in path}
    right, wrong = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
    cases = st.one_of(
        operation.as_strategy(right),
        operation.as_strategy(right, path_parameters=known or None),
        operation.as_strategy(wrong),
    )

    @settings(
        max_examples=CASES * int(os.environ.get("FUZZ_TIMES", "1")),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, key=st.sampled_from([KEY, KEY, KEY, OTHER, "unknown", None]))
    def ask(case: Any, key: str | None) -> None:
        response = case.call(session=session, headers={} if key is None else {"X-API-Key": key}, timeout=60)
        seen.append(response.status_code)
        case.validate_response(response, checks=CHECKS)

    with requests.Session() as session:
        ask()
    record_property("cases", len(seen))
    assert seen and max(seen) < 500
