"""Every command of the documentation is run, or `exceptions` says why not and what is checked instead."""

from __future__ import annotations

import pytest

from tests.docs import checks
from tests.docs.clone import SERVE, Clone, replaced
from tests.docs.exceptions import NOT_RUN, SMALLER
from tests.docs.markdown import pages, read_page

PAGES = pages()
COMMANDS = {command for page in PAGES.values() for _, command in page.commands}
LANGUAGES = {"sh", "python", "json", "text", "toml", "yaml"}


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if list(page.commands)])
def test_the_commands_of_a_page_do_what_it_says(name: str, clone: Clone) -> None:
    for line, command in PAGES[name].commands:
        try:
            clone.run(command)
        except Exception as error:
            pytest.fail(f"{name}, block on line {line}: {command}\n{error}")


@pytest.mark.parametrize(
    ("name", "program"),
    [
        (name, block.text)
        for name, page in PAGES.items()
        for block in page.blocks
        if block.language == "python"
    ],
    ids=lambda value: value if value in PAGES else "program",
)
def test_the_programs_of_a_page_run(name: str, program: str, clone: Clone) -> None:
    clone.python(program)


def test_the_server_that_is_asked_is_started_as_the_documentation_says() -> None:
    assert SERVE in COMMANDS


def test_every_exception_is_a_command_that_is_printed() -> None:
    assert SMALLER.keys().isdisjoint(NOT_RUN)
    assert {*SMALLER, *NOT_RUN} - COMMANDS == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_block_says_what_it_is(name: str) -> None:
    assert {block.language for block in PAGES[name].blocks} <= LANGUAGES
    assert PAGES[name].indented == ()


@pytest.mark.parametrize("name", PAGES)
def test_no_command_hides_in_a_block_of_text(name: str) -> None:
    # `export` is a package as well.
    programs = {command.split()[0].rpartition("/")[2] for command in COMMANDS} - {"export"}
    hidden = [
        line
        for block in PAGES[name].blocks
        if block.language == "text"
        for line in block.text.splitlines()
        if line.split() and line.split()[0].rpartition("/")[2] in programs
    ]
    assert hidden == []


def test_a_command_in_the_text_is_one_that_there_is() -> None:
    for page in PAGES.values():
        for code in page.code:
            words = code.split()
            if words[:1] == ["clead"] and len(words) > 1 and words[1].isalpha():
                checks.clead_has_the_options(words[1:])
            elif words[:1] == ["make"] and len(words) > 1:
                checks.make_knows_the_target(code.replace("/path/to/python3.11", "python3"))
            elif "benchmarks." in code and "-m" in words:
                checks.benchmark_has_the_options(code)


def test_commands_are_found() -> None:
    block = "```sh\n# why\nmake serve   # now\n\nclead probe a.png \\\n    --eps 8/255\n```"
    text = f"# x\n\n{block}\n\n    hidden\n"
    page = read_page("x.md", text)

    assert [command for _, command in page.commands] == ["make serve", "clead probe a.png --eps 8/255"]
    assert page.indented == (11,)


def test_what_is_to_be_replaced_must_occur() -> None:
    with pytest.raises(AssertionError, match="does not occur"):
        replaced("clead doctor", (("--n 1000", "--n 2"),))


def test_a_command_that_fails_is_noticed(clone: Clone) -> None:
    address = f"http://127.0.0.1:{clone.server.port}"
    for command in (f"curl '{address}/classify?top=0'", "clead probe absent.png", "false"):
        with pytest.raises(AssertionError, match="exit code"):
            clone.run(command)
