"""The console in a real browser. It skips, and says so, where there is none: Playwright's own, or one on the PATH."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from serving import client_of, opener, served, served_app
from starlette.applications import Starlette
from starlette.routing import Mount

from hippomem import ClosedError, Memory
from hippomem_server import Tokens, create_app, new_token

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

playwright = pytest.importorskip("playwright.sync_api", reason="no browser: playwright is not installed")
HOSTILE = "<img src=x onerror=\"window.ran='img'\"><script>window.ran='script'</script><b>Bold</b> Mallory was here."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playwright.sync_playwright() as started:
        if not own and not Path(started.chromium.executable_path).exists():
            pytest.skip("no browser: install chromium, or run `playwright install chromium`")
        browser = started.chromium.launch(executable_path=own, args=["--no-sandbox"])
        yield browser
        browser.close()


class Console:
    """A page, the server that it is of, and what went wrong in it."""

    def __init__(self, page: Page, url: str, secret: str, client: httpx.Client) -> None:
        self.page, self.url, self.secret, self.client = page, url, secret, client
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda told: self.wrong.append(told.text) if told.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith(url) else self.wrong.append(asked.url))

    def said(self, text: str) -> None:
        """Wait until the page says this."""
        playwright.expect(self.page.get_by_role("status")).to_contain_text(text)


@pytest.fixture
def console(browser: Browser, small: Path, tmp_path: Path) -> Iterator[Console]:
    """The console, signed in by the address that the server prints."""
    opened = opener(Path(shutil.copy(small, tmp_path / "m.db")))
    tokens, secret = Tokens.for_one_run()
    with served(opened, tokens) as url, client_of(url, secret) as client, browser.new_context() as context:
        console = Console(context.new_page(), url, secret, client)
        console.page.set_default_timeout(10_000)
        console.page.goto(f"{url}/#token={secret}")
        console.said("Signed in as this run, to write.")
        yield console
        assert console.wrong == []


def test_recall_shows_scores_and_the_way_through_the_graph(console: Console) -> None:
    page = console.page
    assert console.secret not in page.url
    page.get_by_label("Question").fill("In which house is the archive of Ada Thorne's firm?")
    page.get_by_label("Passages").fill("2")
    page.keyboard.press("Enter")
    console.said("2 passages")
    items = page.locator("#found > li")
    assert items.count() == 2
    assert float(items.first.locator(".score").inner_text()) > 0
    labels = page.locator("#found svg text").all_text_contents()
    assert {"question", "Ada Thorne", "Northlight Labs"} <= set(labels)
    assert "runs" in labels
    box = page.locator("#found svg").first.bounding_box()
    assert box
    assert box["width"] > 100
    page.get_by_role("button", name="This helped").first.dblclick()
    console.said("Noted")
    page.wait_for_load_state("networkidle")
    assert console.client.get("/stats").json()["learned"] == 1


def test_what_a_note_holds_is_shown_and_never_run(console: Console) -> None:
    page = console.page
    page.get_by_role("button", name="Add a note").click()
    page.get_by_label("Text").fill(HOSTILE)
    page.get_by_label("Title, where it has one").fill("</h3><img src=x onerror=\"window.ran='title'\">")
    page.get_by_role("button", name="Remember").click()
    console.said("Remembered.")
    page.get_by_role("button", name="Recall", exact=True).first.click()
    page.get_by_label("Question").fill("Who was here? Mallory?")
    page.get_by_role("button", name="Recall", exact=True).last.click()
    console.said("passages")
    assert HOSTILE in page.locator("#found .text").all_inner_texts()
    page.get_by_role("button", name="Browse").click()
    console.said("5 memories shown")
    assert HOSTILE in page.locator("#listed .text").all_inner_texts()
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert page.locator("main img, main b, main script").count() == 0


def test_forgetting_asks_first_and_can_be_done_with_the_keyboard(console: Console) -> None:
    page = console.page
    page.get_by_role("button", name="Browse").click()
    console.said("4 memories shown")
    bees = page.locator("#listed > li", has_text="Bea Lind keeps bees")
    bees.get_by_role("button", name="Forget").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("dialog")).to_contain_text("Bea Lind keeps bees")
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Enter")  # the focus is back where it was
    page.keyboard.press("Enter")  # on what is chosen there by itself: to keep it
    playwright.expect(page.get_by_role("dialog")).to_be_hidden()
    assert console.client.get("/stats").json()["passages"] == 4
    bees.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Forget it").click()
    console.said("Forgotten.")
    assert bees.count() == 0
    assert console.client.get("/stats").json()["passages"] == 3
    page.get_by_role("button", name="Figures").click()
    console.said("holds 3 passages")
    playwright.expect(page.locator("#counts tr", has_text="passages").first).to_contain_text("3")


def test_another_namespace_and_signing_out(console: Console) -> None:
    page = console.page
    page.get_by_label("Namespace").fill("other one")
    page.get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Figures").click()
    console.said("The namespace other one holds 0 passages")
    page.reload()
    console.said("Signed in")  # as long as the tab is open
    page.get_by_role("button", name="Sign out").click()
    console.said("Signed out.")
    page.reload()
    playwright.expect(page.get_by_label("Token")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


def test_who_comes_next_sees_nothing_of_what_was_asked_before(console: Console) -> None:
    page = console.page
    held: list[Route] = []
    page.route("**/recall", lambda route: held.append(route))
    for namespace in ("", "other"):
        page.get_by_label("Question").fill("Who keeps bees?")
        with page.expect_request("**/recall"):
            page.keyboard.press("Enter")
        if namespace:
            page.get_by_label("Namespace").fill(namespace)
        page.get_by_role("button", name="Open" if namespace else "Sign out").click()
        with page.expect_response("**/recall"):
            held.pop().continue_()
        if not namespace:
            page.get_by_label("Token").fill(console.secret)
            page.keyboard.press("Enter")
            console.said("Signed in")
            playwright.expect(page.get_by_label("Question")).to_be_empty()
        page.wait_for_timeout(100)
        assert page.locator("#found > li").count() == 0


def test_a_token_to_read_and_a_wrong_one(browser: Browser, small: Path, tmp_path: Path) -> None:
    token, entry = new_token("reader", ["default"], may_write=False)
    (tmp_path / "tokens.toml").write_text(entry)
    with warnings.catch_warnings(action="ignore"):
        tokens = Tokens.read(tmp_path / "tokens.toml")
    opened = opener(Path(shutil.copy(small, tmp_path / "m.db")))
    with served(opened, tokens) as url, browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(url)
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        playwright.expect(page.get_by_role("status")).to_contain_text("not known")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        playwright.expect(page.get_by_role("status")).to_contain_text("to read")
        playwright.expect(page.get_by_role("button", name="Add a note")).to_be_hidden()
        page.get_by_role("button", name="Browse").click()
        playwright.expect(page.locator("#listed > li")).to_have_count(4)
        assert page.get_by_role("button", name="Forget").count() == 0
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 26)"


def test_every_field_and_button_has_a_name(console: Console) -> None:
    unnamed = console.page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, select')]
            .filter((one) => !one.labels.length).map((one) => one.id)
            .concat([...document.querySelectorAll('button')].filter((one) => !one.textContent.trim()).map(String))"""
    )
    assert unnamed == []
    assert console.page.evaluate("document.documentElement.lang") == "en"


def test_more_goes_on_where_the_list_ends(console: Console) -> None:
    page = console.page
    for number in range(30):
        console.client.post("/memories", json={"text": f"Note {number}.", "source": "a" if number < 26 else "b"})
    page.get_by_role("button", name="Browse").click()
    console.said("20 memories shown")
    shown = page.locator("#listed > li")
    shown.first.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Forget it").click()
    console.said("Forgotten.")
    page.get_by_label("Source").fill("a")  # not asked for yet
    page.get_by_role("button", name="More").dblclick()
    console.said("33 memories shown")
    kept = [one["text"] for one in console.client.get("/memories").json()["items"]]
    assert page.locator("#listed .text").all_inner_texts() == kept


def test_an_address_with_a_token_signs_in_where_the_console_is_open(console: Console) -> None:
    page = console.page
    page.get_by_label("Question").fill("Who keeps bees?")
    page.evaluate(f"location.hash = 'token={console.secret}'")  # as pasted into the address: nothing is loaded anew
    playwright.expect(page.get_by_label("Question")).to_be_empty()
    page.get_by_role("button", name="Sign out").click()
    console.said("Signed out.")
    page.evaluate(f"location.hash = 'token={console.secret}'")
    console.said("Signed in as this run, to write.")
    assert page.url == f"{console.url}/"


def test_below_a_path_it_asks_the_server_there(browser: Browser, small: Path, tmp_path: Path) -> None:
    tokens, secret = Tokens.for_one_run()
    make, opened = opener(Path(shutil.copy(small, tmp_path / "m.db"))), []

    def opening(name: str) -> Memory:
        opened.append(make(name))
        return opened[-1]

    app = create_app(opening, tokens)
    above = Starlette(routes=[Mount("/ada/memory", app)], lifespan=app.router.lifespan_context)
    with served_app(above) as url, browser.new_context() as context:
        page = context.new_page()
        for end in ("/", ""):
            page.goto(f"{url}/ada/memory{end}#token={secret}")
            playwright.expect(page.get_by_role("status")).to_contain_text("Signed in")
            assert page.url == f"{url}/ada/memory/"
            page.get_by_role("button", name="Browse").click()
            playwright.expect(page.locator("#listed > li")).to_have_count(4)
            page.get_by_role("button", name="Sign out").click()
    with pytest.raises(ClosedError):
        opened[0].get("x")


def test_nothing_is_wider_than_the_page_and_no_name_than_its_node(console: Console) -> None:
    page, name = console.page, "Ada " + "W" * 29
    page.set_viewport_size({"width": 360, "height": 800})
    console.client.post("/memories", json={"text": "A long title.", "title": "T" * 300})
    console.client.post("/memories", json={"text": "x" * 300, "source": "notes/" * 60})
    fact = {"subject": name, "relation": "is related " * 100, "object": "Bea"}
    console.client.post("/memories", json={"text": f"{name} signed.", "triples": [fact]})
    page.get_by_label("Question").fill(f"What did {name} sign?")
    page.keyboard.press("Enter")
    console.said("passages")
    assert page.locator("#found svg .relation", has_text="is related").count() > 0
    widths = "[...document.querySelectorAll('#found svg')].map((one) => one.width.baseVal.value)"
    assert max(page.evaluate(widths)) < 2000
    overflowing = """() => [...document.querySelectorAll('svg rect')].filter((box) =>
        box.nextSibling.getComputedTextLength() > box.width.baseVal.value).map((box) => box.nextSibling.textContent)"""
    assert page.evaluate(overflowing) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="Browse").click()
    console.said("7 memories shown")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("#listed > li", has_text="xxx").get_by_role("button", name="Forget").click()
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog
    assert dialog["width"] <= 360
    page.keyboard.press("Escape")
    page.get_by_label("Namespace").fill("x" * 255)
    page.get_by_role("button", name="Figures").click()
    console.said("holds 0 passages")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_right_to_left_text_is_read_so_and_scrambles_nothing_beside_it(console: Console) -> None:
    page = console.page
    console.client.post(
        "/memories", json={"text": "אדה תורן (1904).", "title": "אדה", "session": "יום שני", "source": "a\u202eb"}
    )
    page.get_by_role("button", name="Browse").click()
    console.said("5 memories shown")
    item = page.locator("#listed > li").last
    for part in ("h3", ".text"):
        assert item.locator(part).evaluate("(one) => getComputedStyle(one).direction") == "rtl"
    source, session, date = (one.bounding_box() or {} for one in item.locator(".facts bdi").all())
    assert source["x"] < session["x"] < date["x"]


def test_a_long_way_goes_on_in_a_further_row(console: Console) -> None:
    page = console.page
    page.set_viewport_size({"width": 500, "height": 800})
    page.get_by_label("Question").fill("In which house is the archive of Ada Thorne's firm?")
    page.keyboard.press("Enter")
    console.said("4 passages")
    drawn = page.locator("#found .drawn", has_text="runs").first
    rows = drawn.evaluate("(one) => new Set([...one.querySelectorAll('rect')].map((box) => box.y.baseVal.value)).size")
    assert rows > 1
    assert drawn.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    boxes = "(one) => [...one.querySelectorAll('rect')].every((box) => box.getBoundingClientRect().right < 500)"
    assert drawn.evaluate(boxes)


def test_a_figure_that_is_rounded_to_nothing_has_no_sign(console: Console) -> None:
    def near_nothing(route: Route) -> None:
        answer = route.fetch().json()
        answer["passages"][0] |= {"score": -0.001, "causes": {"walk": -0.004, "words": -0.006}}
        route.fulfill(json=answer)

    console.page.route("**/recall", near_nothing)
    console.page.get_by_label("Question").fill("Who keeps bees?")
    console.page.keyboard.press("Enter")
    console.said("passages")
    first = console.page.locator("#found > li").first
    assert first.locator(".score").inner_text() == "0.00"
    assert first.locator("td").all_inner_texts() == ["0.00", "-0.01"]


def test_what_is_no_answer_of_the_server_is_told(console: Console) -> None:
    page = console.page
    statuses = [502, 200]  # of a proxy whose server is gone, and of one that wants a password
    page.route("**/recall", lambda route: route.fulfill(status=statuses.pop(), body="<h1>Proxy</h1>"))
    page.get_by_label("Question").fill("Who keeps bees?")
    for told in ("no whole answer came (200)", "no whole answer came (502)"):
        page.keyboard.press("Enter")
        console.said(told)
    console.wrong.clear()  # the browser speaks of the second


def test_what_an_earlier_question_comes_to_is_not_told_of_the_last(console: Console) -> None:
    page = console.page
    held: list[Route] = []
    page.route("**/recall", lambda route: held.append(route), times=1)
    for question in ("Who keeps bees?", "Who runs Northlight Labs?"):
        page.get_by_label("Question").fill(question)
        with page.expect_request("**/recall"):
            page.keyboard.press("Enter")
    console.said("4 passages")
    with page.expect_response("**/recall"):
        held.pop().fulfill(status=503, json={"detail": "busy"})
    page.wait_for_timeout(100)
    console.said("4 passages")
    console.wrong.clear()  # the browser speaks of it


def test_a_note_that_is_being_written_is_not_lost(console: Console) -> None:
    page, text = console.page, console.page.get_by_label("Text")
    held: list[Route] = []
    page.route("**/memories", lambda route: held.append(route))
    page.get_by_role("button", name="Add a note").click()
    text.fill("Oskar pays on Fridays.")
    with page.expect_request("**/memories"):
        page.get_by_role("button", name="Remember").dblclick()
    text.fill("Ada pays on Mondays.")  # while the first is on its way
    held.pop().continue_()
    console.said("Remembered.")
    assert held == []
    playwright.expect(text).to_have_value("Ada pays on Mondays.")
    page.unroute("**/memories")
    page.route("**/memories", lambda route: route.fulfill(status=401, json={"detail": "who?"}), times=1)
    page.get_by_role("button", name="Remember").click()  # at a server that was started anew, with another token
    console.said("not known")
    console.wrong.clear()
    page.evaluate(f"location.hash = 'token={console.secret}'")
    console.said("Signed in")
    page.get_by_role("button", name="Add a note").click()
    playwright.expect(text).to_have_value("Ada pays on Mondays.")
    page.get_by_role("button", name="Remember").click()
    console.said("Remembered.")
    assert console.client.get("/stats").json()["passages"] == 6


def test_what_is_asked_goes_to_the_namespace_that_is_shown(console: Console) -> None:
    page = console.page
    page.get_by_role("button", name="Add a note").click()
    page.get_by_label("Namespace").fill("work")  # and not opened
    page.get_by_label("Text").fill("Oskar pays on Fridays.")
    page.get_by_role("button", name="Remember").click()
    console.said("Remembered.")
    assert console.client.get("/stats").json()["passages"] == 4
    page.get_by_role("button", name="Figures").click()
    console.said("The namespace work holds 1 passages.")
    page.get_by_label("Namespace").fill("")
    page.get_by_role("button", name="Browse").click()
    console.said("1 memories shown.")
    playwright.expect(page.get_by_label("Namespace")).to_have_value("work")


def test_signing_in_takes_the_last_token_and_leaves_nothing_open(console: Console) -> None:
    page, token = console.page, console.page.get_by_label("Token")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("button", name="Forget").first.click()
    page.evaluate(f"location.hash = 'token={console.secret}'")
    playwright.expect(page.get_by_role("dialog")).to_be_hidden()
    console.said("Signed in")
    assert page.locator("#doomed").text_content() == ""
    page.get_by_role("button", name="Sign out").click()
    held: list[Route] = []
    page.route("**/v1", lambda route: held.append(route), times=1)
    token.fill("wrong")
    with page.expect_request("**/v1"):
        page.keyboard.press("Enter")
    token.fill(console.secret)
    page.keyboard.press("Enter")
    console.said("Signed in")
    with page.expect_response("**/v1"):
        held.pop().continue_()
    page.get_by_role("button", name="Browse").click()
    console.said("4 memories shown")
    page.get_by_role("button", name="Sign out").click()
    token.fill("tøken 1…")
    page.keyboard.press("Enter")
    console.said("not known")
    console.wrong.clear()  # the browser tells what was refused
