"""What the documents name is there: files, headings, tests, commands to run, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUARANTEES = ROOT / "docs" / "guarantees.md"

LINKS = r"\]\((?!https?:)([^)\s]+)\)"
MODULES = r"python -m (bench\.[a-z_]+|realtime)"
TARGETS = r"`make ([a-z-]+)"
SETTINGS = r"\b(?:WORKER|PLATFORM_API|FEATURE|SUPABASE)_[A-Z0-9_]+\b"
STARTS = r"lf-worker run worker --processes \d+ --threads \d+"

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@pytest.mark.parametrize("pattern", [LINKS, MODULES, TARGETS, SETTINGS, STARTS])
def test_documents_have_what_is_looked_for(pattern: str) -> None:
    assert any(re.search(pattern, document.read_text()) for document in DOCUMENTS)


@each_document
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for link in links_of(document.read_text()):
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not heading or heading in headings_of(target), link


@each_document
def test_commands_run_what_is_there(document: Path) -> None:
    text = document.read_text()
    for module in re.findall(MODULES, text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(TARGETS, text):
        assert target in targets


@each_document
def test_settings_are_those_of_the_example(document: Path) -> None:
    """By their names, or by what several begin with."""
    known = (ROOT / ".env.example").read_text()
    for name in re.findall(SETTINGS, document.read_text()):
        assert re.search(rf"\b{name}", known), name


@each_document
def test_the_worker_is_started_as_the_procfile_does(document: Path) -> None:
    """By its number of processes and threads; a document may leave the rest out."""
    started = next(
        line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("worker:")
    )
    for command in re.findall(STARTS, document.read_text()):
        assert command in started


def test_every_promise_names_a_test() -> None:
    rows = [
        line.strip("|").rsplit("|", 1)
        for line in GUARANTEES.read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| promise |")
    ]
    assert len(rows) > 30
    for promise, shown_by in rows:
        shows = [*links_of(shown_by), *re.findall(r"`make \w+`|python -m bench", shown_by)]
        assert shows or shown_by.strip().startswith("the same"), promise


def test_each_area_that_the_doctor_looks_at_is_explained() -> None:
    checks = "".join(path.read_text() for path in (ROOT / "app/cli/doctor").glob("*.py"))
    areas = set(re.findall(r'Finding\(\s*"([a-z ]+)"', checks))
    assert len(areas) > 20
    table = (ROOT / "docs/operations.md").read_text().split("## What doctor looks at")[1].split("\n## ")[0]
    assert areas - set(re.findall(r"`([a-z ]+)`", table)) == set()


def test_the_layout_names_every_folder() -> None:
    told = set(re.findall(r"`([a-z/]+/)`", (ROOT / "README.md").read_text().split("| folder | holds |")[1]))
    for folder in (ROOT / "app").iterdir():
        if (folder / "__init__.py").exists() and folder.name != "sql":
            assert f"app/{folder.name}/" in told
    assert [place for place in told if not (ROOT / place).is_dir()] == []


def links_of(text: str) -> Iterator[str]:
    """Where the links within the repository lead."""
    return iter(re.findall(LINKS, text))


def headings_of(document: Path) -> set[str]:
    """The headings of a document as links write them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
