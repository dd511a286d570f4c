"""An MCP client with the memory as its server, in another process: any agent that speaks MCP does the same."""

import asyncio
import sys

from mcp import Client, StdioServerParameters

SERVER = StdioServerParameters(command=sys.executable, args=["-m", "hippomem.cli", "mcp", "--db", "agent.db"])


async def main() -> None:
    async with Client(SERVER) as client:
        print("tools:", ", ".join(tool.name for tool in (await client.list_tools()).tools))
        for text in ("Ada Thorne runs Northlight Labs.", "Northlight Labs keeps its archive in Vardø."):
            await client.call_tool("remember", {"text": text})
        found = await client.call_tool("recall", {"query": "Where is the archive of Ada Thorne's firm?", "k": 2})
        print(found.content[0].text)
        refused = await client.call_tool("recall", {"query": ""})
        print("refused:", refused.is_error, refused.content[0].text)
        stats = await client.read_resource("memory://default/stats")
        print(stats.contents[0].text[:15])


asyncio.run(main())
