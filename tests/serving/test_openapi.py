"""The OpenAPI document says what the server does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serving.application import routes
from serving.inference.request import LENGTH_HEADER
from serving.openapi import routes as description_routes
from serving.openapi.document import openapi_document
from serving.parameters import CLASSIFY_PARAMETERS
from serving.probing.parameters import PROBE_PARAMETERS
from serving.problems import KINDS
from serving.settings import Settings
from serving.uploads.body import IMAGE_PART, MULTIPART, RAW_TYPES
from tests.serving.in_process import asking, started

DOCUMENT: dict[str, Any] = openapi_document(Settings(), version="1")
HTTP_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()


def _operation(path: str) -> dict[str, Any]:
    operation: dict[str, Any] = DOCUMENT["paths"][path]["post"]
    return operation


def test_every_route_and_method_is_there() -> None:
    served = {
        (route.path, method.lower())
        for route in routes()
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert described == served


def test_every_parameter_is_there_in_query_and_form() -> None:
    for path, names in (("/classify", CLASSIFY_PARAMETERS), ("/probe", PROBE_PARAMETERS)):
        operation = _operation(path)
        form = operation["requestBody"]["content"][MULTIPART]["schema"]["properties"]

        assert {parameter["name"] for parameter in operation["parameters"]} == set(names)
        assert set(form) == {IMAGE_PART, *names}
        assert all(parameter["schema"]["description"] for parameter in operation["parameters"])


def test_every_accepted_content_type_is_there() -> None:
    aliases = {"image/jpg"}

    assert set(_operation("/probe")["requestBody"]["content"]) == {*RAW_TYPES, MULTIPART} - aliases


def test_what_a_key_may_not_is_said() -> None:
    for path in ("/classify", "/probe"):
        answers = _operation(path)["responses"]
        assert "unauthorized" in answers["401"]["description"]
        assert "forbidden" in answers["403"]["description"]
        assert "rate_limited" in answers["429"]["description"]
        assert "foreign_site" in answers["403"]["description"]
    assert set(DOCUMENT["paths"]["/models"]["get"]["responses"]) == {"200", "401", "403", "429", "503"}
    assert "403" not in DOCUMENT["paths"]["/metrics"]["get"]["responses"]


def test_caps_are_those_of_the_settings() -> None:
    document = openapi_document(Settings(probe_max_steps=7, max_images=3), version="1")
    parameters = {p["name"]: p["schema"] for p in document["paths"]["/probe"]["post"]["parameters"]}
    content = document["paths"]["/classify"]["post"]["requestBody"]["content"]

    assert parameters["steps"]["maximum"] == 7
    assert content[MULTIPART]["schema"]["properties"][IMAGE_PART]["maxItems"] == 3


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [found for inner in value.values() for found in references(inner)]
        return [found for inner in value for found in references(inner)] if isinstance(value, list) else []

    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}

    assert set(references(DOCUMENT)) == schemas


def test_the_page_for_people_lists_paths_parameters_and_codes() -> None:
    names = [
        *CLASSIFY_PARAMETERS,
        *PROBE_PARAMETERS,
        *KINDS,
        *(route.path for route in routes() if route.path != "/"),
    ]

    assert [name for name in names if f"`{name}`" not in HTTP_PAGE and f" {name}`" not in HTTP_PAGE] == []
    for code, kind in KINDS.items():
        assert f"| `{code}` | {kind.status} |" in HTTP_PAGE


def test_inference_is_described_with_its_header_and_both_kinds_of_tensors() -> None:
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        operation = _operation(f"{model}/infer")
        names = {parameter["name"] for parameter in operation["parameters"]}

        assert names >= {"name", LENGTH_HEADER, "Content-Encoding"}
        assert ("version" in names) == ("versions" in model)
        for content in (operation["requestBody"]["content"], operation["responses"]["200"]["content"]):
            assert set(content) == {"application/json", "application/octet-stream"}


def test_every_json_answer_has_a_schema() -> None:
    bare = [
        (path, method)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
        == {}
    ]
    assert bare == []


def test_it_is_written_once_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Settings] = []

    def writing(settings: Settings, *, version: str) -> Any:
        written.append(settings)
        return openapi_document(settings, version=version)

    monkeypatch.setattr(description_routes, "openapi_document", writing)

    async def scenario(settings: Settings) -> None:
        async with started(settings) as (front, _), asking(front) as client:
            expected = openapi_document(settings, version=description_routes.distribution_version())
            for _ in range(2):
                page = await client.get("/docs")
                assert page.headers["content-type"] == "text/html; charset=utf-8"
                assert "default-src 'none'" in page.headers["content-security-policy"]
                assert page.text == description_routes.page(expected)
                for path, accept in (("/openapi.json", "*/*"), ("/docs", "application/json")):
                    answer = await client.get(path, headers={"Accept": accept})
                    assert answer.headers["content-type"] == "application/json"
                    assert answer.json() == expected

    servers = [Settings(models_dir=tmp_path, probe=False, max_images=most) for most in (3, 5)]
    for settings in servers:
        asyncio.run(scenario(settings))
    assert written == servers


def test_the_version_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def version(name: str) -> str:
        asked.append(name)
        return "1.2"

    monkeypatch.setattr(description_routes, "version", version)
    description_routes.distribution_version.cache_clear()
    try:
        assert [description_routes.distribution_version() for _ in range(3)] == ["1.2"] * 3
    finally:
        description_routes.distribution_version.cache_clear()
    assert len(asked) == 1
