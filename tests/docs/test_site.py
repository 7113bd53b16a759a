"""The site: it builds without a complaint, and holds what it says it holds."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from adverb import recipe as recipes
from adverb.schema import OBJECTIVES

pytest.importorskip("mkdocs")
ROOT = Path(__file__).resolve().parents[2]
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Addresses(HTMLParser):
    """What a browser would fetch by itself."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in LOADING and attributes.get("rel") != "canonical":
            self.found.append(attributes.get(LOADING[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    return folder


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_of_docs_can_be_reached(site):
    menu = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        address = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'href="{address}"' in menu, address


def test_nothing_comes_from_elsewhere_and_all_that_is_shown_is_there(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for address in Addresses(page.read_text(encoding="utf-8")).found:
            assert "//" not in address and not address.startswith("data:"), (page, address)
            if page.name != "404.html" and address:
                assert (page.parent / address.partition("?")[0].partition("#")[0]).exists(), (page, address)
    assert "fonts.g" not in "".join(sheet.read_text(encoding="utf-8") for sheet in site.rglob("*.css"))


def test_equations_are_drawn_by_the_browser(site):
    for name in ("gans.html", "berts.html", "baselines.html"):
        page = (site / name).read_text(encoding="utf-8")
        assert page.count("<math") > 2 and "arithmatex" not in page, name
        assert not re.search(r"<mo>[A-Za-z]{2}|</m(i|sub)><mi>log<|<mi>log</mi><mi>", page), name  # no "Elogp"
        shown = text_of(site / name)
        assert not re.search(r"\\(mathbb|log|operatorname|frac|left|hat)", shown), name


def test_every_key_of_every_recipe_is_explained(site):
    page = text_of(site / "recipes.html")
    for objective, schema in OBJECTIVES.items():
        for key, field in recipes.keys(schema).items():
            if key != "objective":
                assert key in page and field.description, (objective, key)
    for name, path in recipes.shipped().items():
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["description"] in page, name


def test_readme_is_the_first_page_and_its_numbers_are_among_the_benchmarks(site):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start, benchmarks = text_of(site / "index.html"), text_of(site / "benchmarks.html")
    numbers = readme[readme.index("## Honest numbers") : readme.index("## How it works")]
    commands = set(re.findall(r"`(python benchmarks/[^`]+)`", numbers))
    assert commands and all(command in benchmarks for command in commands)
    assert "BERTs read, GANs make." in start and not any(command in start for command in commands)
    assert not re.search(r"docs/[\w-]+\.md", start)


def test_parameters_of_docstrings_are_a_list(site):
    page = (site / "api" / "running.html").read_text(encoding="utf-8")
    assert re.search(r"<li><code>resume</code>|<li><code>overrides</code>", page)
