"""The page that people look at: self-contained, and nothing that data holds comes alive in it."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hippomem_eval import html_report, plots
from hippomem_eval.html_page import Markup, element, page, searchable, text
from hippomem_eval.html_report import explorer, markdown, write_html_report

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)></td></style>&amp;{{7*7}}${x}\u2028"
SYSTEMS = ("hippomem", "<b>dense</b>")


class Seen(HTMLParser):
    """Elements with their attributes, and the text outside of style and script."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.inside, []).append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def summary() -> dict[str, Any]:
    spread = {"mean": 2.0, "p50": 1.5, "p95": 4.0}
    measures = {"recall@1": 0.2, "recall@2": 0.4, "recall@5": 0.9}
    values = {**measures, **dict.fromkeys(("ms", "cpu_ms", "encode_ms"), spread)}
    interval = {name: {"mean": value, "low": value - 0.1, "high": value + 0.1} for name, value in measures.items()}
    apart = [{"a": SYSTEMS[0], "b": SYSTEMS[1], "measure": n, "mean": 0.0, "low": -0.1, "high": 0.2} for n in measures]
    return {
        "n_questions": 2,
        "systems": dict.fromkeys(SYSTEMS, values),
        "intervals": dict.fromkeys(SYSTEMS, interval),
        "differences": apart,
        "encoder": HOSTILE,
    }


def rows(found: int | None) -> list[dict[str, Any]]:
    ranked = [{"id": "p1", "title": HOSTILE, "score": 1.0}, {"id": "p2", "title": "Other", "score": 0.5}]
    return [
        {"id": HOSTILE + str(number), "question": HOSTILE, "gold": [HOSTILE], "gold_ranks": [found], "ranked": ranked}
        for number in range(2)
    ]


@pytest.fixture
def report(tmp_path: Path) -> str:
    environment = {"data": {HOSTILE: {"path": HOSTILE, "sha256": HOSTILE}}, "command": ["multihop", HOSTILE]}
    environment |= {"versions": {"python": HOSTILE}, "machine": {"platform": HOSTILE}, "seed": HOSTILE}
    (tmp_path / "run.json").write_text(json.dumps(environment))
    table = f"| {HOSTILE} | recall@1 |\n|---|---|\n| {HOSTILE} | 1 |\n\n{HOSTILE}\n- {HOSTILE}\n"
    write_html_report(tmp_path, summary(), {"hippomem": rows(1)}, table, pytest.fail, title=HOSTILE)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_that_data_holds_comes_alive(report: str) -> None:
    seen = Seen(report)
    assert len(seen.of("script")) == len(seen.of("style")) == 1
    assert not any("alert" in script for script in seen.texts["script"])
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    assert not seen.of("b")
    assert len(seen.of("img")) == 3
    assert HOSTILE in "".join(seen.texts["h1"])
    assert HOSTILE in "".join(seen.texts["summary"])


def test_it_loads_nothing_from_anywhere(report: str) -> None:
    seen = Seen(report)
    for tag, attributes in seen.elements:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in seen.elements}
    assert "url(" not in "".join(seen.texts["style"])
    assert "@import" not in "".join(seen.texts["style"])


def test_the_browser_is_told_to_run_nothing_else(report: str) -> None:
    seen = Seen(report)
    (policy,) = (meta["content"] for meta in seen.of("meta") if meta.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256("".join(seen.texts["script"]).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)


def test_it_is_for_phones_and_dark_screens(report: str) -> None:
    seen = Seen(report)
    assert any(meta.get("name") == "viewport" for meta in seen.of("meta"))
    assert "prefers-color-scheme:dark" in "".join(seen.texts["style"])
    assert len(seen.of("source")) == len(seen.of("img"))
    assert all(image["alt"] for image in seen.of("img"))


def test_questions_are_labelled_by_what_was_missed() -> None:
    shown = Seen(explorer({"one": rows(1), "two": rows(None)}))
    entries = [element for element in shown.of("div") if element.get("class") == "entry"]
    assert [option["value"] for option in shown.of("option")] == [
        "",
        "not all found by one",
        "not all found by two",
        "systems differ",
    ]
    assert [entry["data-labels"] for entry in entries] == ["1 2", "1 2"]


def test_many_questions_are_cut_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_report, "LISTED", 1)
    assert "1 more questions are in the .jsonl files" in explorer({"one": rows(1)})


def test_our_markdown() -> None:
    shown = "".join(markdown("| a \\| b | c |\n|---|---|\n| 1 | 2 |\n\nA line.\n- x\n- y\n"))
    assert '<th scope="col">a | b</th><th scope="col">c</th>' in shown
    assert '<th scope="row">1</th><td>2</td>' in shown
    assert '<p class="note">A line.</p>' in shown
    assert "<ul><li>x</li><li>y</li></ul>" in shown


def test_only_markup_stays_as_it_is() -> None:
    assert text("<i>") == "&lt;i&gt;"
    assert text(Markup("<i>")) == "<i>"
    assert element("p", "<i>", class_='"x"') == '<p class="&quot;x&quot;">&lt;i&gt;</p>'
    assert "<title>&lt;i&gt;</title>" in page("<i>", "", [])
    assert "<select" not in searchable([], [])


def test_without_matplotlib_the_page_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    told: list[str] = []
    for name in ("recall", "latency"):
        (tmp_path / f"{name}.png").write_bytes(b"of an earlier run")
    write_html_report(tmp_path, summary(), {}, "", told.append, title="T")
    assert told == ["no pictures: matplotlib is not installed: pip install 'hippomem[eval]'"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("dark", [False, True])
def test_pictures(dark: bool) -> None:
    costs = {"disk": [(100, 5.0), (1000, 50.0)], "one size": [(100, 1.0)]}
    for png in (
        plots.recall_curves(summary(), dark=dark),
        plots.latency_bars(summary(), dark=dark),
        plots.forest(summary()["differences"], dark=dark),
        plots.growth(costs, dark=dark),
    ):
        assert png is not None
        assert png.startswith(b"\x89PNG")
        width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
        assert width > 800
        assert height > 150


def test_the_same_figures_give_the_same_picture() -> None:
    assert plots.recall_curves(summary()) == plots.recall_curves(summary())


def test_where_there_is_nothing_to_draw() -> None:
    assert plots.forest([]) is None
    assert plots.growth({"one size": [(100, 1.0)]}) is None
    assert plots.recall_curves({"systems": {"one": {"recall@1": 1.0}}}) is None


def test_names_are_no_formulas() -> None:
    named = summary()
    named["systems"] = {"$\\frac{": named["systems"]["hippomem"]}
    assert plots.latency_bars(named)
