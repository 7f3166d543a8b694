"""The client of `fastmcp` 4.x: 2026-07-28 when the server has it."""

import contextlib

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

from checks import Connection, RpcError, main


class FastMcp(Connection):
    def __init__(self, client):
        self.client = client
        self.version = client.protocol_version
        self.server_name = client.server_info.name

    async def tools(self):
        tools = await self.client.list_tools()
        return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]

    async def call(self, name, arguments, on_progress=None):
        try:
            result = await self.client.call_tool_mcp(name, arguments, progress_handler=on_progress)
        except MCPError as error:
            raise RpcError(error.error.code, error.error.message) from error
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def ping(self):
        await self.client.ping()


def connect_to(url, arguments):
    @contextlib.asynccontextmanager
    async def connect(wire, token):
        def client_factory(headers=None, timeout=None, auth=None, **_):
            client = create_mcp_http_client(headers=headers, timeout=timeout, auth=auth)
            client.event_hooks["response"].append(wire.record)
            return client

        transport = StreamableHttpTransport(url, auth=token, httpx_client_factory=client_factory)
        async with Client(transport, mode=arguments.mode, timeout=20) as client:
            yield FastMcp(client)

    return connect


if __name__ == "__main__":
    main(connect_to, mode={"default": "auto"})
