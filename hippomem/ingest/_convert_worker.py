"""The child process of `convert.Converter`: one JSON request a line on stdin, one JSON answer a line on stdout.

A document is the work of a stranger, and the libraries that take it apart are large. So they run here: with bounded
memory, without network and without other programs, where a hang or a crash costs one process and one document.
"""

from __future__ import annotations

import base64
import faulthandler
import io
import json
import os
import re
import signal
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from hippomem.errors import SourceError
from hippomem.ingest.decode import clean, decode
from hippomem.ingest.division import undivided
from hippomem.ingest.parsed import parsed
from hippomem.ingest.spans import fill_spans
from hippomem.ingest.streams import LIMIT_NAME, in_units, open_capped
from hippomem.ingest.word import with_all_text

MEMORY_BYTES = 4 << 30
ZIP_KINDS = frozenset({".docx", ".pptx", ".xlsx", ".epub"})
HTML_KINDS = frozenset({".html", ".htm", ".xhtml"})
# Blocks that markdownify takes for parts of a line, where the last word before and the first word in them become one.
_BLOCKS = (
    *("address", "aside", "center", "details", "dialog", "dir", "fieldset", "figure", "footer", "form", "header"),
    *("hgroup", "legend", "main", "menu", "optgroup", "option", "search", "summary"),
)
_MAX_ZIP_ENTRIES = 20_000
_EMBEDDED_IMAGE = re.compile(r"!\[([^\]\n]*)\]\(data:[^)]*\)")
_SOFT_HYPHEN = "\u00ad"  # where a word may be divided, no part of it
# Underscores and stars are what the document says; a title of Word heads all, or that of a section would be its title.
_OPTIONS = {"escape_underscores": False, "escape_asterisks": False, "style_map": "p[style-name='Title'] => h1:fresh"}
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile")


def main() -> None:
    """Serve requests until stdin closes."""
    # Libraries print; the answers go through a copy of stdout that only this function knows.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes stdin
    limit_memory()
    try:
        import markitdown.converters  # noqa: F401
    except ImportError as error:
        _answer(answers, {"missing": getattr(error, "name", None) or "markitdown"})
        return
    forbid_outside_world()
    _answer(answers, {"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # Ends this process even from within C code, should the parent be gone and nobody kill it.
        faulthandler.dump_traceback_later(min(request["seconds"], 86_400.0) + 5.0, exit=True)
        answer = _handle(request)
        faulthandler.cancel_dump_traceback_later()
        _answer(answers, answer)


def limit_memory() -> None:
    """Let this process have at most MEMORY_BYTES of address space, where the system can limit that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):  # macOS knows the limit, but does not let it be set
        return


def forbid_outside_world() -> None:
    """From here on, opening a network connection or starting a program raises PermissionError. It cannot be undone."""

    def hook(event: str, _arguments: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event}: the converter reads one local file and nothing else")

    sys.addaudithook(hook)


def check_zip(stream: BinaryIO, max_expanded_bytes: int) -> None:
    """Raise SourceError where the zip container in `stream` would expand to more than `max_expanded_bytes`.

    The sizes are the ones its directory claims. That is enough: `zipfile`, which all readers of these formats use,
    never returns more of an entry than the directory claims for it.
    """
    with zipfile.ZipFile(stream) as container:
        entries = container.infolist()
    if len(entries) > _MAX_ZIP_ENTRIES:
        raise SourceError(f"holds {len(entries)} files, limit {_MAX_ZIP_ENTRIES}")
    expanded = sum(entry.file_size for entry in entries)
    if expanded > max_expanded_bytes:
        raise SourceError(f"would expand to {in_units(expanded)}, limit {in_units(max_expanded_bytes)}")


def to_markdown(
    path: str, kind: str, max_unpacked_bytes: int, max_expanded_bytes: int, data: str | None = None
) -> tuple[str, str]:
    """The Markdown and the title ("" for none) of a document; `kind` is its ending, `data` what is in it, in base64,
    where it is no file. Raises what its reader raises."""
    with _opened(Path(path), max_unpacked_bytes) if data is None else io.BytesIO(base64.b64decode(data)) as stream:
        if kind in ZIP_KINDS:
            check_zip(stream, max_expanded_bytes)
            stream.seek(0)
        text, title = _pdf(stream) if kind == ".pdf" else _with_markitdown(stream, path, kind)
    if len(text) > max_expanded_bytes:
        raise SourceError(f"holds {in_units(len(text))} of text, limit {in_units(max_expanded_bytes)}")
    text = re.sub(r"[^\S\n]+\n", "\n", clean(_EMBEDDED_IMAGE.sub(r"\1", text)))
    return re.sub(r"\n{3,}", "\n\n", text).strip(), " ".join(clean(title).split())


def _opened(path: Path, max_unpacked_bytes: int) -> io.BufferedReader | io.BytesIO:
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    with open_capped(path, max_unpacked_bytes, setting=LIMIT_NAME) as packed:
        return io.BytesIO(packed.read())


def _pdf(stream: io.BufferedReader | io.BytesIO) -> tuple[str, str]:
    # Not markitdown's own reader: it reads pages that look like a form in another way, which joins words in documents
    # set with TeX ("JonathanCarterwaselected"). This is what it reads all other pages with.
    from pdfminer.high_level import extract_text

    return undivided(extract_text(stream)), ""


def _with_markitdown(stream: BinaryIO, path: str, kind: str) -> tuple[str, str]:
    # The converters themselves, not the MarkItDown class: that also guesses types with a neural network, runs
    # plugins and programs like exiftool, and takes URLs.
    converters: Any = import_module("markitdown.converters")
    stream_info: Any = import_module("markitdown").StreamInfo
    if kind in HTML_KINDS:
        page, title = _plain_html(stream.read(), path)
        stream, kind = io.BytesIO(page.encode()), ".html"
    else:
        title = ""
    readers = {
        ".html": converters.HtmlConverter,
        ".docx": converters.DocxConverter,
        ".pptx": converters.PptxConverter,
        ".xlsx": converters.XlsxConverter,
        ".epub": converters.EpubConverter,
    }
    if kind not in readers:
        raise SourceError(f"{kind} files cannot be converted")
    reader = readers[kind]()
    if kind in (".docx", ".epub"):
        reader._html_converter = _Pages(converters.HtmlConverter(), stream_info)
    if kind == ".docx":
        stream = with_all_text(stream)
    result = reader.convert(stream, stream_info(extension=kind, charset="utf-8"), **_OPTIONS)
    return result.markdown.replace(_SOFT_HYPHEN, ""), (title or result.title or "").replace(_SOFT_HYPHEN, "")


class _Pages:
    """Converts the chapters of an EPUB, and the HTML that a Word file was made, as pages are. In Word the names of
    pictures stay."""

    def __init__(self, reader: Any, stream_info: Any) -> None:
        self._reader, self._info = reader, stream_info(extension=".html", charset="utf-8")

    def convert(self, stream: BinaryIO, info: Any, **_: Any) -> Any:
        page, _title = _plain_html(stream.read(), info.filename)
        return self._reader.convert(io.BytesIO(page.encode()), self._info, **_OPTIONS)

    def convert_string(self, page: str, **_: Any) -> Any:
        soup = parsed(page)
        _simplify(soup)
        return self._reader.convert(io.BytesIO(str(soup).encode()), self._info, **_OPTIONS)


def _plain_html(data: bytes, path: str) -> tuple[str, str]:
    """The page without what is not its text: scripts, navigation, pictures, where its links lead to. And its title."""
    from bs4.dammit import EncodingDetector
    from bs4.element import Comment, Declaration, Doctype
    from bs4.element import ProcessingInstruction as XMLHeader

    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    soup = parsed(decode(data, path, declared=declared or ""))
    title = soup.title.get_text() if soup.title else ""
    for element in soup(["title", "script", "style", "noscript", "template", "nav", "iframe", "svg", "img"]):
        element.decompose()
    # Without a <body>, the reader takes all there is: declarations too.
    for string in soup.find_all(string=lambda string: isinstance(string, (Comment, Declaration, Doctype, XMLHeader))):
        string.extract()
    _simplify(soup)
    return str(soup), title


def _simplify(soup: Any) -> None:
    """Leave out where links lead to, and what the reader does not know: cells that span rows, and blocks that are no
    `<div>`."""
    fill_spans(soup)
    for element in soup("a"):
        element.unwrap()
    for element in soup(_BLOCKS):
        element.name = "div"


def _handle(request: dict[str, Any]) -> dict[str, Any]:
    try:
        text, title = to_markdown(
            request["path"],
            request["kind"],
            request["max_unpacked_bytes"],
            request["max_expanded_bytes"],
            request["data"],
        )
    except MemoryError:
        # What is left of the memory is in pieces; the parent ends this process and starts a fresh one.
        return {"error": f"needs more memory than {in_units(MEMORY_BYTES)}", "exhausted": True}
    except SourceError as error:
        return {"error": str(error)}
    except RecursionError:
        return {"error": "is nested too deeply"}
    except Exception as error:  # any library, any error: the parent reports it for this one document
        return {"error": _describe(error, request["kind"])}
    return {"text": text, "title": title}


def _describe(error: Exception, kind: str) -> str:
    name = type(error).__name__
    if name == "MissingDependencyException" or isinstance(error, ImportError):
        return f"needs a package that is not installed: pip install 'markitdown[{kind[1:]}]'"
    if "Password" in name or "Encrypt" in name:
        return "is encrypted: remove the password first"
    first_line = clean(str(error)).strip().split("\n", 1)[0][:200]
    return f"is not a readable {kind} file ({name}{': ' if first_line else ''}{first_line})"


def _answer(stream: BinaryIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main()
