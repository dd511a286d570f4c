"""hippomem as an MCP server: `hippomem mcp` on the command line, or `create_server` in a program.

from hippomem import Memory
from hippomem_mcp import create_server, serve_stdio

serve_stdio(create_server(Memory.open("agent.db")))
"""

from hippomem import MissingDependencyError

try:
    import mcp.server.mcpserver  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("mcp", "mcp") from error

from hippomem_mcp.configuration import client_configuration
from hippomem_mcp.http import serve_http
from hippomem_mcp.server import create_server
from hippomem_mcp.stdio import serve_stdio

__all__ = ["client_configuration", "create_server", "serve_http", "serve_stdio"]
