"""Cells of HTML tables that span rows, written into each of them: Markdown knows no such cells, and what stands beside
one would move under the head of another column."""

from __future__ import annotations

from typing import Any

_MOST_CHARS = 200  # of a cell that is said again; what is longer is laid out so, and no value
_MOST_COLUMNS = 1000
_MOST_COPIES = 20_000  # in a table: a small page can ask for millions


def fill_spans(soup: Any) -> None:
    """Write them into all tables of a parsed page."""
    tables: dict[int, list[Any]] = {}
    for row in soup("tr"):
        tables.setdefault(id(row.find_parent("table")), []).append(row)
    for rows in tables.values():
        _fill(soup, rows)


def _fill(soup: Any, rows: list[Any]) -> None:
    spanning: dict[int, tuple[int, Any]] = {}  # by column: how many rows more, and the cell
    copies = 0
    for row in rows:
        above, spanning = spanning, {}
        cells, column, last = iter(row.find_all(["td", "th"], recursive=False)), 0, None
        while True:
            left, cell = above.get(column, (0, None))
            if left and copies < _MOST_COPIES:
                copies += 1
                cell = _again(soup, cell)
                row.insert(0, cell) if last is None else last.insert_after(cell)
            else:
                cell = next(cells, None)
                if cell is None:
                    break
                left = _number(cell, "rowspan")
            if left > 1:
                spanning[column] = left - 1, cell
            column, last = column + min(_number(cell, "colspan"), _MOST_COLUMNS), cell


def _again(soup: Any, cell: Any) -> Any:
    text = " ".join(cell.get_text(" ").split())
    copy = soup.new_tag("td", colspan=str(_number(cell, "colspan")))
    copy.string = text if len(text) <= _MOST_CHARS else ""
    return copy


def _number(cell: Any, name: str) -> int:
    number = str(cell.get(name, ""))
    return max(1, int(number[:9])) if number.isdecimal() else 1
