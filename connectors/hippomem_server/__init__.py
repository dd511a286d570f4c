"""hippomem over HTTP: `hippomem serve` on the command line, or `create_app` for a server of your own.

import uvicorn
from hippomem_server import Tokens, create_app

tokens, secret = Tokens.for_one_run()
uvicorn.run(create_app("agent.db", tokens))    # requests bear `secret`
"""

from hippomem import MissingDependencyError

try:
    import fastapi  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingDependencyError((error.name or "fastapi").replace("_", "-"), "server") from error

from hippomem_server.app import Options, create_app
from hippomem_server.guard import LOOPBACK
from hippomem_server.running import serve
from hippomem_server.tokens import Grant, Tokens, new_token

__all__ = ["LOOPBACK", "Grant", "Options", "Tokens", "create_app", "new_token", "serve"]
