"""The `mcp` package, 2.x: 2026-07-28 without sessions, or in its legacy mode 2025-11-25."""

import contextlib

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

from checks import Connection, RpcError, main


class V2(Connection):
    def __init__(self, client):
        self.client = client
        self.version = client.protocol_version
        self.server_name = client.server_info.name

    async def tools(self):
        listed = await self.client.list_tools()
        return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools]

    async def call(self, name, arguments, on_progress=None):
        try:
            result = await self.client.call_tool(name, arguments, progress_callback=on_progress)
        except MCPError as error:
            raise RpcError(error.error.code, error.error.message) from error
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def ping(self):
        await self.client.send_ping()


def connect_to(url, arguments):
    @contextlib.asynccontextmanager
    async def connect(wire, token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with create_mcp_http_client(headers=headers) as http_client:
            http_client.event_hooks["response"].append(wire.record)
            transport = streamable_http_client(url, http_client=http_client)
            async with Client(transport, mode=arguments.mode, read_timeout_seconds=20) as client:
                yield V2(client)

    return connect


if __name__ == "__main__":
    main(connect_to, mode={"default": "auto"})
