"""Documents through the child process, and everything that can happen to that process."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ingest_documents import pdf, write_docx

from hippomem import Memory
from hippomem.errors import MissingDependencyError, SourceError
from hippomem.ingest import convert as module
from hippomem.ingest.convert import Converter

pytest.importorskip("markitdown", reason="documents need markitdown")
needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system has no SIGSTOP")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="this system does not limit a process's memory")

WITHOUT = """
import runpy, sys
sys.modules["{}"] = None  # as if it were not installed
runpy.run_module("hippomem.ingest._convert_worker", run_name="__main__")
"""
# A worker whose HTML reader misbehaves on demand, as a library with a bug would.
MISCHIEF = """
import os, runpy, time
import markitdown.converters
read = markitdown.converters.HtmlConverter.convert
def misbehave(self, stream, info, **options):
    page = stream.getvalue()
    if b"PRINT" in page: print('{"text": "forged", "title": ""}', flush=True); os.write(1, b"noise\\n")
    if b"EXIT" in page: os._exit(3)
    if b"ABORT" in page: os.abort()
    if b"EAT" in page: bytearray(5 << 30)
    if b"NEST" in page: raise RecursionError
    return read(self, stream, info, **options)
markitdown.converters.HtmlConverter.convert = misbehave
runpy.run_module("hippomem.ingest._convert_worker", run_name="__main__")
"""  # fmt: skip


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    with Converter() as shared:
        yield shared


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], Path]:
    def write(html: str) -> Path:
        path = tmp_path / "page.html"
        path.write_text(html, "utf-8")
        return path

    return write


def process_of(converter: Converter) -> int:
    assert converter._worker is not None
    return converter._worker._process.pid


def test_word(converter: Converter, tmp_path: Path) -> None:
    path = write_docx(tmp_path / "a.docx", "Über Käse", "Gouda & Brie.")
    assert converter.convert(path) == ("# Über Käse\n\nGouda & Brie.", "")


def test_word_is_read_with_its_fields_readings_directions_and_what_was_moved(
    converter: Converter, tmp_path: Path
) -> None:
    def run(text: str) -> str:
        return f"<w:r><w:t>{text}</w:t></w:r>"

    parts = (
        f"<w:fldSimple w:instr='DATE'>{run('12 March 2021')}</w:fldSimple>",
        f"<w:moveFrom>{run('Ada left.')}</w:moveFrom>",
        f"<w:moveTo>{run('Ada left.')}</w:moveTo><w:del><w:r><w:delText>Never.</w:delText></w:r></w:del>",
        f"<w:r><w:ruby><w:rt>{run('とうきょう')}</w:rt><w:rubyBase>{run('東京')}</w:rubyBase></w:ruby></w:r>",
        f"<w:dir w:val='rtl'>{run('القاهرة')}</w:dir>",
    )
    path = write_docx(tmp_path / "a.docx", "Oslo", xml="".join(f"<w:p>{part}</w:p>" for part in parts))
    assert converter.convert(path)[0].split("\n\n") == ["12 March 2021", "Ada left.", "東京", "القاهرة", "# Oslo"]


def test_a_title_in_word_heads_the_document(converter: Converter, tmp_path: Path) -> None:
    title = "<w:p><w:pPr><w:pStyle w:val='Titel'/></w:pPr><w:r><w:t>Harbours</w:t></w:r></w:p>"
    styles = "<w:style w:type='paragraph' w:styleId='Titel'><w:name w:val='Title'/></w:style>"
    path = write_docx(tmp_path / "a.docx", "Crew", xml=title, styles=styles)
    assert converter.convert(path)[0] == "# Harbours\n\n# Crew"


def test_word_is_read_without_where_its_links_lead(converter: Converter, tmp_path: Path) -> None:
    link = "<w:p><w:hyperlink w:anchor='_Toc1'><w:r><w:t>1. Crew</w:t></w:r></w:hyperlink></w:p>"
    assert converter.convert(write_docx(tmp_path / "a.docx", "Crew", xml=link))[0] == "1. Crew\n\n# Crew"


def test_pictures_in_word_are_their_names(converter: Converter, tmp_path: Path) -> None:
    names = "http://schemas.openxmlformats.org/drawingml/2006"
    relations = "http://schemas.openxmlformats.org/{}/2006/relationships"
    picture = (
        f"<w:p><w:r><w:drawing><wp:inline xmlns:wp='{names}/wordprocessingDrawing'><wp:docPr descr='A map of Oslo'/>"
        f"<a:graphic xmlns:a='{names}/main'><a:graphicData><pic:pic xmlns:pic='{names}/picture'><pic:blipFill>"
        f"<a:blip xmlns:r='{relations.format('officeDocument')}' r:embed='i'/></pic:blipFill></pic:pic>"
        "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    path = write_docx(tmp_path / "a.docx", "Crew", xml=picture, padding=10)
    with zipfile.ZipFile(path, "a") as container:
        container.writestr(
            "word/_rels/document.xml.rels",
            f"<Relationships xmlns='{relations.format('package')}'><Relationship Id='i' Target='media/image1.png' "
            f"Type='{relations.format('officeDocument')}/image'/></Relationships>",
        )
    assert converter.convert(path)[0] == "A map of Oslo\n\n# Crew"


def test_signs_of_documents_are_not_escaped(converter: Converter, page: Callable[[str], Path], tmp_path: Path) -> None:
    assert converter.convert(page("<p>Set max_steps to 4 * 3."))[0] == "Set max_steps to 4 * 3."
    assert converter.convert(write_docx(tmp_path / "a.docx", "a_b * c"))[0] == "# a_b * c"


def test_pdf(converter: Converter, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("Hello from a page."))
    assert converter.convert(path) == ("Hello from a page.", "")


def test_a_pdf_has_its_divided_words_whole(converter: Converter, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("The lens of the light-\nhouse came from Var-\nberg."))
    assert converter.convert(path) == ("The lens of the lighthouse came from Varberg.", "")


def test_html(converter: Converter, page: Callable[[str], Path]) -> None:
    text, title = converter.convert(
        page(
            "<html><head><title>On\n Käse</title><style>p {color: red}</style></head><body><nav>Home | About</nav>"
            "<h1>Cheese</h1><p>Read <a href='/gouda'>about Gouda</a>.</p><script>alert('hi')</script>"
            "<noscript>Turn it on</noscript><img src='x.png' alt='a picture'><ul><li>Brie</ul></body></html>"
        )
    )
    assert title == "On Käse"
    assert text == "# Cheese\n\nRead about Gouda.\n\n* Brie"


def test_chapters_of_a_book_are_read_as_pages_are(converter: Converter, tmp_path: Path) -> None:
    chapter = (
        "<html><body><nav><a href='2.xhtml'>Next</a></nav><script>x()</script><h1>The Lens</h1>"
        "<header>Ada <a href='notes.xhtml'>Thor\u00adne</a></header><p>ground it.</p><img alt='a lens'/></body></html>"
    )
    package = (
        "<package><metadata><dc:title xmlns:dc='d'>Harbours</dc:title></metadata><manifest>"
        "<item id='c' href='1.xhtml'/></manifest><spine><itemref idref='c'/></spine></package>"
    )
    with zipfile.ZipFile(tmp_path / "book.epub", "w") as book:
        book.writestr("META-INF/container.xml", "<container><rootfile full-path='content.opf'/></container>")
        book.writestr("content.opf", package)
        book.writestr("1.xhtml", chapter)
    assert converter.convert(tmp_path / "book.epub") == (
        "**Title:** Harbours\n\n# The Lens\n\nAda Thorne\n\nground it.",
        "Harbours",
    )


def test_words_of_two_blocks_of_html_are_two_words(converter: Converter, page: Callable[[str], Path]) -> None:
    text, _ = converter.convert(
        page(
            "<header>Ada Thorne</header><main>Oslo<details><summary>Open?</summary>At nine.</details></main>"
            "<select><option>Bergen<option>Vardø</select><address>Quay 3</address><footer>1904</footer>"
        )
    )
    assert text.split() == "Ada Thorne Oslo Open? At nine. Bergen Vardø Quay 3 1904".split()


def test_elements_end_where_html_ends_them(converter: Converter, page: Callable[[str], Path]) -> None:
    html = (
        "<h1>Old</h1><p>One<p>Two<ul><li>a<ul><li>b</ul><li>c</ul><dl><dt>d<dd>e<dt>f</dl>"
        "<table><thead><tr><th>Ship<th>Port<tbody><tr><td>Aurora<td>Oslo<tr><td><table><td>in</table><td>Bergen</table>"
    )
    html += "".join(f"<p>Keeper {number}" for number in range(2000)) + "<h2>End"
    lines = [line.strip() for line in converter.convert(page(html))[0].splitlines() if line.strip()]
    assert lines[:9] == ["# Old", "One", "Two", "* a", "+ b", "* c", "d", ":   e", "f"]
    assert lines[9:12] == ["| Ship | Port |", "| --- | --- |", "| Aurora | Oslo |"]
    assert "Bergen" in lines[12]
    assert lines[-2:] == ["Keeper 1999", "## End"]


def test_what_stands_beside_a_cell_that_spans_rows_keeps_its_column(
    converter: Converter, page: Callable[[str], Path]
) -> None:
    html = (
        "<table><tr><th rowspan=2>Ship<th colspan=2>Kept<th rowspan=2>Port</tr><tr><th>From<th>To</tr>"
        "<tr><td rowspan=3><a href='/a'>Aurora</a><td>1901<td>1902<td rowspan='x'>Oslo</tr>"
        "<tr><td>1904<td rowspan=9><table><tr><td>1905</table><td>Bergen</tr><tr><td>1906<td>Vardø</table>"
        f"<table><tr><td rowspan=2>{'x' * 201}<td>a</tr><tr><td>b</table>"
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in converter.convert(page(html))[0].splitlines()]
    for row in (
        ["Ship", "From", "To", "Port"],
        ["Aurora", "1901", "1902", "Oslo"],
        ["Aurora", "1906", "1905", "Vardø"],
        ["", "b"],
    ):
        assert row in rows


def test_soft_hyphens_divide_no_names(converter: Converter, page: Callable[[str], Path]) -> None:
    html = "<title>Hafen&shy;amt</title><p>Das Leucht&shy;turm&shy;museum in Bergen.</p>"
    assert converter.convert(page(html)) == ("Das Leuchtturmmuseum in Bergen.", "Hafenamt")


@pytest.mark.parametrize(
    "data",
    [
        "<title>Ö</title><p>Käse</p>".encode("utf-16"),
        '<meta charset="iso-8859-1"><title>Ö</title><p>Käse</p>'.encode("latin-1"),
        '<?xml version="1.0" encoding="ISO-8859-1"?><html><title>Ö</title><p>Käse</p></html>'.encode("latin-1"),
        '<meta charset="iso-8859-1"><title>Ö</title><p>Käse</p>'.encode(),
    ],
    ids=["utf-16", "meta", "xml", "meta lies"],
)
def test_encodings_of_html(converter: Converter, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.xhtml"
    path.write_bytes(data)
    assert converter.convert(path) == ("Käse", "Ö")


def test_the_kind_can_be_said(converter: Converter, tmp_path: Path) -> None:
    path = tmp_path / "no_ending"
    path.write_bytes(pdf("Hello."))
    assert converter.convert(path, kind=".pdf")[0] == "Hello."


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"%PDF-1.4 and nothing more", "is not a readable .pdf file"),
        ("a.pdf", pdf("Hello.")[:150], "is not a readable .pdf file"),
        ("a.docx", b"not a zip file", "is not a readable .docx file"),
        ("a.epub", b"PK\x03\x04 but broken", "is not a readable .epub file"),
        ("a.html", b"\x89PNG\0\0", "looks like binary data"),
        ("a.xyz", b"?", ".xyz files cannot be converted"),
        ("missing.pdf", None, "is not a readable .pdf file .FileNotFoundError"),
    ],
)
def test_broken_documents(converter: Converter, tmp_path: Path, name: str, data: bytes | None, reason: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=reason):
        converter.convert(tmp_path / name)


def test_a_format_whose_package_is_missing_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("Hello."))
    monkeypatch.setattr(module, "_WORKER", ("-c", WITHOUT.format("pdfminer")))
    with Converter() as lacking, pytest.raises(SourceError, match=r"pip install 'markitdown\[pdf\]'"):
        lacking.convert(path)


def test_markitdown_is_missing(page: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORKER", ("-c", WITHOUT.format("markitdown")))
    with Converter() as lacking, pytest.raises(MissingDependencyError, match=r"hippomem\[documents\]"):
        lacking.convert(page("<p>x"))


def test_containers_that_would_expand_too_far(tmp_path: Path, converter: Converter) -> None:
    path = write_docx(tmp_path / "bomb.docx", "Boom", padding=3 << 20)
    assert path.stat().st_size < 10_000
    with Converter(max_expanded_bytes=1 << 20) as strict:
        with pytest.raises(SourceError, match=r"would expand to 3\.\d+ MiB, limit 1 MiB"):
            strict.convert(path)
        assert strict.convert(write_docx(tmp_path / "fine.docx", "Fine"))[0] == "# Fine"
    assert converter.convert(path)[0] == "# Boom"


def test_a_container_that_lies_about_its_size(tmp_path: Path) -> None:
    path = write_docx(tmp_path / "liar.docx", "Boom", padding=3 << 20)
    path.write_bytes(path.read_bytes().replace((3 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with Converter(max_expanded_bytes=1 << 20) as strict, pytest.raises(SourceError, match="not a readable"):
        strict.convert(path)


def test_a_container_of_very_many_files(tmp_path: Path, converter: Converter) -> None:
    path = tmp_path / "many.docx"
    with zipfile.ZipFile(path, "w") as container:
        for number in range(20_001):
            container.writestr(str(number), b"")
    with pytest.raises(SourceError, match="holds 20001 files, limit 20000"):
        converter.convert(path)


def test_a_text_that_grows_over_the_limit(page: Callable[[str], Path]) -> None:
    with Converter(max_expanded_bytes=1000) as strict, pytest.raises(SourceError, match="of text, limit 1000 bytes"):
        strict.convert(page("<p>" + "word " * 1000))


def test_deep_nesting_is_read(converter: Converter, page: Callable[[str], Path]) -> None:
    assert converter.convert(page("<div>" * 3000 + "deep" + "</div>" * 3000))[0] == "deep"


@pytest.mark.parametrize(
    ("mischief", "reason"),
    [
        ("EXIT", r"crashed its reader \(exit code 3\)"),
        ("ABORT", r"crashed its reader \(signal 6\)"),
        ("NEST", "is nested too deeply"),
        pytest.param("EAT", "needs more memory than 4 GiB", marks=only_linux),
    ],
)
def test_a_document_that_brings_the_process_down_costs_only_itself(
    page: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, mischief: str, reason: str
) -> None:
    monkeypatch.setattr(module, "_WORKER", ("-c", MISCHIEF))
    with Converter() as converter:
        with pytest.raises(SourceError, match=reason):
            converter.convert(page(f"<p>{mischief}"))
        assert converter.convert(page("<p>fine")) == ("fine", "")


def test_what_a_library_prints_is_no_answer(page: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORKER", ("-c", MISCHIEF))
    with Converter() as converter:
        assert converter.convert(page("<p>PRINT")) == ("PRINT", "")
        assert converter.convert(page("<p>fine")) == ("fine", "")


def test_where_no_process_can_be_started(
    tmp_path: Path, page: Callable[[str], Path], fast: Callable[..., Memory]
) -> None:
    """It costs the documents, and not the ingest: the next one reads them."""
    page("<p>Ada met Bea.</p>")
    (tmp_path / "notes.md").write_text("Bea met Cid.")
    memory = fast()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "nowhere"))
        (failed,) = memory.ingest(tmp_path).failed
    assert failed.source.endswith("page.html")
    assert failed.reason.startswith("its reader cannot be started ([Errno 2] No such file")
    assert memory.ingest(tmp_path).passages == 1
    assert memory.ingest(tmp_path).skipped == 2


def test_where_no_thread_can_be_started(page: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def kept(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", kept)
    with monkeypatch.context() as patched, Converter() as own:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(SourceError, match="can't start new thread"):
            own.convert(page("<p>Ada</p>"))
        assert started[0].poll() is not None
        patched.undo()
        assert own.convert(page("<p>Ada</p>"))[0] == "Ada"


@needs_signals
def test_a_hanging_document_is_given_up(page: Callable[[str], Path]) -> None:
    with Converter(timeout=0.5) as converter:
        converter.convert(page("<p>warm"))
        hanging = process_of(converter)
        os.kill(hanging, signal.SIGSTOP)
        with pytest.raises(SourceError, match=r"^took longer than 0\.5 s$"):
            converter.convert(page("<p>slow"))
        with pytest.raises(ProcessLookupError):
            os.kill(hanging, 0)
        assert converter.convert(page("<p>next")) == ("next", "")


@needs_signals
def test_a_process_that_was_killed_between_documents_is_replaced(page: Callable[[str], Path]) -> None:
    with Converter() as converter:
        converter.convert(page("<p>one"))
        os.kill(process_of(converter), signal.SIGKILL)
        assert converter._worker is not None
        converter._worker._process.wait()
        assert converter.convert(page("<p>two")) == ("two", "")


@needs_signals
def test_a_process_that_is_killed_at_work(page: Callable[[str], Path]) -> None:
    with Converter() as converter:
        converter.convert(page("<p>one"))
        pid = process_of(converter)
        os.kill(pid, signal.SIGSTOP)  # so that the request surely waits when the process dies
        killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(SourceError, match=r"crashed its reader \(signal 9\)"):
            converter.convert(page("<p>two"))
        killer.join()
        assert converter.convert(page("<p>three")) == ("three", "")


def test_one_process_serves_all_and_ends_with_close(page: Callable[[str], Path]) -> None:
    converter = Converter()
    converter.close()
    converter.convert(page("<p>one"))
    assert converter._worker is not None
    process = converter._worker._process
    converter.convert(page("<p>two"))
    assert process_of(converter) == process.pid
    converter.close()
    assert process.returncode is not None


def test_an_ingest_leaves_no_process_behind(fast: Callable[..., Memory], page: Callable[[str], Path]) -> None:
    before = set(threading.enumerate())
    assert fast().ingest(page("<p>Ada met Bea.")).passages == 1
    assert set(threading.enumerate()) == before  # one listens to the process for as long as it lives


def test_html_never_fetches(converter: Converter, page: Callable[[str], Path]) -> None:
    asked: list[str] = []

    class Trap(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Trap) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        here = f"http://127.0.0.1:{server.server_port}"
        try:
            text, _ = converter.convert(
                page(
                    f"<!DOCTYPE html SYSTEM '{here}/dtd'><html><head><link rel=stylesheet href='{here}/css'>"
                    f"<base href='{here}/'><script src='{here}/js'></script></head><body>"
                    f"<img src='{here}/img'><iframe src='{here}/frame'></iframe><p>quiet</p></body></html>"
                )
            )
        finally:
            server.shutdown()
            thread.join()
    assert text == "quiet"
    assert asked == []


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import http.client; http.client.HTTPConnection('localhost', 9).request('GET', '/')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
    ],
)
def test_the_worker_has_no_network_and_no_programs(attempt: str) -> None:
    code = (
        "from hippomem.ingest._convert_worker import forbid_outside_world\nforbid_outside_world()\n"
        f"try:\n    {attempt}\nexcept PermissionError as error:\n    print('refused:', error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("refused:")


def test_the_worker_s_libraries_tell_nobody(
    tmp_path: Path, page: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them puts down, among the user's files, what it is to send to its maker some seconds later."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with Converter() as converter:
        assert converter.convert(page("<p>quiet")) == ("quiet", "")
    assert list(home.rglob("*")) == []


def test_the_worker_imports_nothing_from_the_current_folder(
    tmp_path: Path, page: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = page("<p>safe")
    (tmp_path / "json.py").write_text("raise SystemExit('imported a file of the folder')")
    monkeypatch.chdir(tmp_path)
    with Converter() as converter:
        assert converter.convert(path) == ("safe", "")
