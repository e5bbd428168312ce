"""The book builds with strict links, loads nothing from elsewhere, and its blocks run.

In pages of docs/, blocks marked ```bash and ```python run: those of the pages in `PAGES` here, page by page in their order, those of the
others in the tests that `ELSEWHERE` names. ```sh and ```py mark sketches, which need a network, a person or minutes; there are few, and
`SKETCHES` counts them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ("quickstart", "adopt", "watching", "sealed", "parameters", "partial", "precision", "robust", "events", "deployment", "ckks")
ELSEWHERE = {
    "analytics": "tests/flower/test_analytics.py",
    "cli": "tests/cli/test_docs.py",
    "encrypted": "tests/encrypted/test_page.py",
    "keyserver": "tests/keyserver/test_page.py",
    "library": "tests/library/test_page.py",
    "privacy": "tests/dp/test_page.py",
}
SKETCHES = {"quickstart": 5, "scale": 1, "ckks": 1, "library": 1, "deployment": 1, "encrypted": 1, "strategies": 1}

GIVEN = {
    "partial": """
import torch
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from stfed.flower import SecAggMod, SecureAggregation, Shared, secagg_mod
from stfed.secagg.policy import Policy
from stfed.testing import InMemoryGrid

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lora_a, self.norm, self.head = torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1)
        self.body = torch.nn.ModuleDict({"lora_b": torch.nn.Linear(3, 2)})

make_model, model, metrics = Model, Model(), MetricRecord({"num-examples": 1})
shared = Shared.except_("head.*")
app = ClientApp(mods=[secagg_mod])
grid = InMemoryGrid(app, 3)

@app.evaluate()
def evaluate(message, context):
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
""",
    "precision": "from flwr.serverapp.strategy import FedAvg\nfrom stfed.flower import AdaptiveClip, SecureAggregation\n",
    "events": """
from tests.flower import apps
apps.secure(events="events.jsonl").start(apps.secure_grid(3), apps.model(), num_rounds=1)
""",
    "watching": """
from tests.flower import apps
apps.secure(events="runs/first/events.jsonl").start(apps.secure_grid(3), apps.model(), num_rounds=1)
""",
    "ckks": "ask = 'a passphrase'.strip\n",
}
"""What a page's code takes as given: a model, a strategy's imports, a run behind it, a person who types a passphrase."""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every block of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE)


def marked(*languages: str) -> dict[str, int]:
    """How many blocks of these languages each page has."""
    pages = (path.stem for path in DOCS.glob("*.md"))
    counts = {page: sum(language in languages for language, _ in blocks(page)) for page in pages}
    return {page: count for page, count in counts.items() if count}


def test_every_block_that_is_to_run_is_in_a_test() -> None:
    assert marked("bash", "python").keys() == {*PAGES, *ELSEWHERE}
    assert {**marked("sh", "py"), "cli": 0} == {**SKETCHES, "cli": 0}  # in cli.md they are how a command is called
    for page, test in ELSEWHERE.items():
        assert f"{page}.md" in (ROOT / test).read_text(), test


@pytest.fixture
def unimported(tmp_path: Path) -> Iterator[None]:
    """Forgets what a page imported from its own folder: another test's app may have the same name."""
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(("my-app", str(tmp_path))):
            del sys.modules[name]


@pytest.mark.usefixtures("unimported")
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_in_their_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # the blocks run "in a checkout"
    if page == "quickstart":
        subprocess.run(["cp", "-r", "examples/plain", "my-app"], check=True)  # step 2, with an installation that no test waits for
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STFED_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("STFED_PASSPHRASE", "a passphrase")
    names: dict[str, object] = {"__name__": "page"}
    exec(GIVEN.get(page, ""), names)
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, f"docs/{page}.md", "exec"), names)
        elif language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


# The site


class Loads(HTMLParser):
    """Everything that a page has the browser fetch, and not only link to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get("href", ""))
        elif tag != "a":
            self.found += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]


def fetched(folder: Path) -> Iterator[tuple[str, str]]:
    """File and address of everything that pages and styles of a site fetch."""
    for path in folder.rglob("*.html"):
        parser = Loads()
        parser.feed(path.read_text())
        yield from ((path.name, address) for address in parser.found)
    for path in folder.rglob("*.css"):
        yield from ((path.name, address) for address in re.findall(r"(?:url\(|@import\s)[\"']?([^\"')\s]+)", path.read_text()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_book_has_every_page_in_its_navigation(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {f"{path.stem}.html" for path in DOCS.glob("*.md") if path.stem != "README"} <= pages
    navigation = set(re.findall(r'<a href="([^"#:]+\.html)" class="md-nav__link"', (site / "404.html").read_text()))
    shown = {address.lstrip("/") for address in navigation}
    decisions = {page for page in pages if page.startswith("adr/0")}
    assert {page for page in pages - decisions if not page.startswith("source/")} - shown == {"404.html"}
    assert "RoundReport" in (site / "reference/flower.html").read_text()
    assert (site / "source/benchmarks/results/targets.png").is_file()


PUBLIC = (
    *(
        "stfed",
        "stfed.flower",
        "stfed.flower.analytics",
        "stfed.flower.ckks",
        "stfed.testing",
        "stfed.keys",
        "stfed.audit",
        "stfed.library",
    ),
    *("stfed.sealed", "stfed.sealed.numpy", "stfed.sealed.torch", "stfed.sealed.shards", "stfed.encrypted", "stfed.keyserver"),
)
TYPES = {"Codebook"}
"""Names of types that have no entry of their own: it is written out where it is used."""


def test_the_reference_has_every_public_name(site: Path) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    found = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines() if line}
    for name in PUBLIC:
        module = import_module(name)
        for public in set(module.__all__) - TYPES - {"__version__"}:
            home = getattr(getattr(module, public), "__module__", name)
            assert {f"{name}.{public}", f"{home}.{public}"} & found, f"{name}.{public} is not in docs/reference"


def test_the_book_loads_nothing_from_elsewhere(site: Path) -> None:
    found = list(fetched(site))
    assert len(found) > 100
    elsewhere = [(name, address) for name, address in found if re.match(r"(?:https?:)?//", address)]
    assert not elsewhere


def test_pictures_are_in_the_page_and_have_its_colours(site: Path) -> None:
    page = (site / "protocol.html").read_text()
    assert page.count('<figure class="picture"') == (DOCS / "protocol.md").read_text().count(".svg)") == 6
    assert "The states of a party, malicious mode</title>" in page
    assert not re.search(r'<img[^>]*\.svg"', page)
    search = (site / "search/search_index.json").read_text()
    assert "One round in a picture" in search
    assert "take part in this run?" not in search
