"""The server over standard input and output, for a client that has started it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from mcp.server.mcpserver import MCPServer


def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve until the client goes away, or until interrupted, at once: KeyboardInterrupt is raised then.

    The SDK reads from the client on a thread that nothing wakes up, and would have Ctrl-C wait for its next line. So
    the server has a thread of its own, which does not keep the process.
    """
    served: Future[None] = Future()

    def serve() -> None:
        try:
            server.run("stdio")
        except BaseException as error:
            served.set_exception(error)
        else:
            served.set_result(None)

    serving = threading.Thread(target=serve, name="hippomem-mcp", daemon=True)
    serving.start()
    while serving.is_alive():
        serving.join(1.0)  # not forever: Windows tells of Ctrl-C in between only
    served.result()
