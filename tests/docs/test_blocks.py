from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from counterclone import compose, config

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")
BLOCKS = [(page, language, text) for page in PAGES
          for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def _of(language: str) -> list[tuple[Path, str]]:
    return [(page, text) for page, found, text in BLOCKS if found == language]


@pytest.mark.parametrize(("page", "text"), _of("toml"), ids=lambda value: getattr(value, "name", ""))
def test_every_configuration_in_the_docs_is_valid(page: Path, text: str) -> None:
    table = tomllib.loads(text)
    if "project" not in table:  # a piece of a pyproject.toml
        compose.check(config.parse(table, {}, page.name))


@pytest.mark.parametrize(("page", "text"), _of("python"), ids=lambda value: getattr(value, "name", ""))
def test_every_program_in_the_docs_compiles(page: Path, text: str) -> None:
    compile(text, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [target for target in LINK.findall(text)
               if "://" not in target and not (page.parent / target).exists()]
    assert missing == []
