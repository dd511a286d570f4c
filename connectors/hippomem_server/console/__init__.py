"""The console: a page of its own files, which asks the same server as any client does."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

FOLDER = Path(__file__).parent
FILES = {
    "/": ("console.html", "text/html"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/console.css": ("console.css", "text/css"),
    "/console.js": ("console.js", "text/javascript"),
    "/client.js": ("client.js", "text/javascript"),
    "/drawing.js": ("drawing.js", "text/javascript"),
}


def serve_in(app: FastAPI) -> None:
    """Have an application serve the page at `/`."""
    for path, (name, kind) in FILES.items():
        _serve(app, path, FOLDER / name, kind)


def _serve(app: FastAPI, path: str, file: Path, kind: str) -> None:
    async def page() -> FileResponse:
        return FileResponse(file, media_type=kind)

    app.add_api_route(path, page, methods=["GET"], include_in_schema=False, response_class=FileResponse)
