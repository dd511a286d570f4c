"""HTML to a tree, with the ends of elements that pages need not write: of paragraphs, items, rows and cells. Without
them each would lie in the one before."""

from __future__ import annotations

from typing import Any

_CELLS, _ROWS = ("td", "th"), ("tr",)
_GROUPS = ("thead", "tbody", "tfoot")
_BLOCKS = (
    *("address", "article", "aside", "blockquote", "center", "details", "dialog", "dir", "div", "dl", "fieldset"),
    *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "main"),
    *("menu", "nav", "ol", "p", "pre", "search", "section", "summary", "table", "ul"),
)
# By element: which ones end where it begins, and in which ones those that are around them do not.
_ENDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(_BLOCKS, (("p",), ("table", "td", "th", "caption", "button", "object"))),
    **dict.fromkeys(_CELLS, (_CELLS, ("table",))),
    **dict.fromkeys(_ROWS, (_CELLS + _ROWS, ("table",))),
    **dict.fromkeys(_GROUPS, (_CELLS + _ROWS + _GROUPS, ("table",))),
    "li": (("li",), ("ul", "ol", "menu", "dir", "table")),
    **dict.fromkeys(("dt", "dd"), (("dt", "dd"), ("dl", "table"))),
    **dict.fromkeys(("option", "optgroup"), (("option",), ("select",))),
}


def parsed(page: str) -> Any:
    """The page as a BeautifulSoup."""
    from bs4 import BeautifulSoup

    class Soup(BeautifulSoup):
        def handle_starttag(self, name: str, *rest: Any, **more: Any) -> Any:
            ended, around = _ENDS.get(name, ((), ()))
            outermost = ""
            for tag in reversed(self.tagStack) if any(map(self.open_tag_counter.get, ended)) else ():
                if tag.name in around:
                    break
                if tag.name in ended:
                    outermost = tag.name
            if outermost:
                self.handle_endtag(outermost)
            return super().handle_starttag(name, *rest, **more)

    return Soup(page, "html.parser")
