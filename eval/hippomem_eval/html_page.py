"""One self-contained HTML page: style, script and pictures inside, nothing from anywhere else.

All that comes from data goes through `text`; what is in a `Markup` is on the page as it stands.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML that is safe to put on the page."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any value as text: what it holds of HTML is shown and does nothing."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def element(tag: str, *content: object, **attributes: str) -> Markup:
    """An element around its content, which is escaped unless it is Markup; `class_` gives the attribute class."""
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{given}>{''.join(map(text, content))}</{tag}>")


def joined(parts: Iterable[object]) -> Markup:
    """The parts side by side."""
    return Markup("".join(map(text, parts)))


def section(title: str, *content: object) -> Markup:
    """A part of the page with a heading."""
    return element("section", element("h2", title), *content)


def paragraphs(lines: Iterable[object]) -> Markup:
    """Each line a paragraph of small print."""
    return joined(element("p", line, class_="note") for line in lines)


def bullets(lines: Iterable[object]) -> Markup:
    """A list."""
    return element("ul", *(element("li", line) for line in lines))


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table whose first column names its rows; it scrolls sideways where the screen is narrow."""
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def picture(light: bytes, dark: bytes, description: str) -> Markup:
    """A PNG in two versions, for light and for dark screens."""
    sources = [f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}" for png in (light, dark)]
    return Markup(
        f'<picture><source srcset="{sources[1]}" media="(prefers-color-scheme: dark)">'
        f'<img src="{sources[0]}" alt="{text(description)}"></picture>'
    )


def searchable(entries: Sequence[tuple[Markup, frozenset[str]]], labels: Sequence[str]) -> Markup:
    """Entries one below the other, with a field that filters by words and, where there are any, by label."""
    options = [element("option", "all", value=""), *(element("option", name, value=name) for name in labels)]
    search = '<input id="words" type="search" placeholder="filter by words" aria-label="filter by words">'
    kinds = element("select", *options, id="label", aria_label="show") if labels else ""
    bar = element("div", Markup(search), kinds, element("span", f"{len(entries):,}", id="count"), class_="bar")
    # A label may hold anything: they are told by their places.
    place = {name: str(number) for number, name in enumerate(labels)}
    marked = (
        element("div", entry, class_="entry", data_labels=" ".join(sorted(place[name] for name in own)))
        for entry, own in entries
    )
    return joined((bar, element("div", *marked, id="entries")))


def page(title: str, lead: str, sections: Iterable[Markup]) -> str:
    """The whole document. It may load nothing and run no script but its own, and says so to the browser."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{text(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title><style>{_STYLE}</style>'
    )
    body = element("main", element("header", element("h1", title), element("p", lead)), *sections)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}<script>{_SCRIPT}</script></body></html>\n'


_STYLE = """
:root{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--ground:#f6f8fa;--card:#fff;--mark:#0072b2;--hit:#1a7f37;--miss:#b35900}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;--line:#3d444d;--ground:#0d1117;--card:#161b22;
--mark:#58a6ff;--hit:#4ac26b;--miss:#f0883e}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:72rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:1rem 0 .25rem}
h2{font-size:1.15rem;margin:0 0 .75rem}
header p,.note{color:var(--soft);margin:.35rem 0}
.note{font-size:.875rem}
section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;min-width:100%}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
thead th{color:var(--soft);font-weight:600}
tbody th{font-weight:600}
img{width:44rem;max-width:100%;height:auto;display:block;margin:.5rem auto}
ul{padding-left:1.2rem;margin:.25rem 0}
.bar{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;margin-bottom:.5rem}
input,select{font:inherit;color:inherit;background:var(--ground);border:1px solid var(--line);border-radius:.35rem;
padding:.35rem .6rem;max-width:100%}
input{flex:1 1 12rem}
#count{color:var(--soft);font-size:.875rem}
.entry{border-bottom:1px solid var(--line);content-visibility:auto;contain-intrinsic-size:auto 3rem}
.entry[hidden]{display:none}
summary{padding:.5rem 0;cursor:pointer}
.found{display:flex;flex-wrap:wrap;gap:1rem;padding:0 0 .75rem}
.found>div{flex:1 1 15rem;min-width:0}
.found h3{font-size:.875rem;margin:.25rem 0}
.found ol{margin:0;padding-left:1.8rem;font-size:.875rem}
.ranks{color:var(--soft);font-size:.8125rem;display:block}
.hit{color:var(--hit);font-weight:600}
.miss{color:var(--miss)}
code{font-size:.85em;background:var(--ground);border-radius:.25rem;padding:.1rem .3rem}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.35rem 1rem;margin:0;font-size:.9rem}
dt{color:var(--soft)}
dd{margin:0;min-width:0}
@media (max-width:36rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.6rem}}
:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
""".strip()

_SCRIPT = """
(()=>{const words=document.getElementById("words");if(!words)return;
const label=document.getElementById("label"),count=document.getElementById("count");
const entries=[...document.querySelectorAll(".entry")].map(node=>({node,text:null}));
const show=()=>{const wanted=words.value.toLowerCase().split(/\\s+/).filter(Boolean);
const place=label&&label.selectedIndex>0?String(label.selectedIndex-1):null;let shown=0;
for(const entry of entries){if(entry.text===null)entry.text=entry.node.textContent.toLowerCase();
const fits=wanted.every(word=>entry.text.includes(word))&&
(place===null||entry.node.dataset.labels.split(" ").includes(place));
entry.node.hidden=!fits;if(fits)shown++}
count.textContent=shown.toLocaleString("en")+" of "+entries.length.toLocaleString("en")};
words.addEventListener("input",show);if(label)label.addEventListener("change",show)})()
""".strip()
