"""The pictures of the console in the documents, light and dark: `python console_picture.py FOLDER`. Needs a browser."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from serving import served_app

from hippomem import Memory
from hippomem_server import Tokens, create_app

NOTES = Path(__file__).parents[2] / "examples/brackwater/notes"
QUESTION = "Which animal is pictured on the label of the ale served at The Drowned Bell?"


def draw(folder: Path, database: Path) -> None:
    """FOLDER/console-light.png and -dark.png: a question about the demo's town, with the way to its answer."""
    with Memory.open(database, namespace="brackwater") as memory:
        for note in sorted(NOTES.glob("*.md")):
            title, _, text = note.read_text(encoding="utf-8").partition("\n")
            memory.add(text.strip(), title=title.removeprefix("# "))
    tokens, secret = Tokens.for_one_run()
    own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with served_app(create_app(database, tokens)) as url, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=own, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme, viewport={"width": 840, "height": 600}).new_page()
            page.goto(f"{url}/#token={secret}")
            page.get_by_label("Namespace").fill("brackwater")
            page.get_by_role("button", name="Open").click()
            page.get_by_label("Passages").fill("2")
            page.get_by_label("Question").fill(QUESTION)
            for _ in range(2):  # the first one has to load what the next one finds
                with page.expect_response("**/recall"):
                    page.keyboard.press("Enter")
                page.locator("#found > li").nth(1).wait_for()
            page.screenshot(path=folder / f"console-{scheme}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        draw(Path(sys.argv[1]), Path(temporary, "town.db"))
