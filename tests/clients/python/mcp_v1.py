"""The `mcp` package, 1.x: 2025-03-26, 2025-06-18 or 2025-11-25, as old as the package is."""

import contextlib
from datetime import timedelta

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import McpError

from checks import Connection, RpcError, main


class V1(Connection):
    def __init__(self, session, initialized):
        self.session = session
        self.version = str(initialized.protocolVersion)
        self.server_name = initialized.serverInfo.name

    async def tools(self):
        listed = await self.session.list_tools()
        return [tool.model_dump(mode="json", exclude_none=True) for tool in listed.tools]

    async def call(self, name, arguments, on_progress=None):
        try:
            result = await self.session.call_tool(name, arguments, progress_callback=on_progress)
        except McpError as error:
            raise RpcError(error.error.code, error.error.message) from error
        return result.model_dump(mode="json", exclude_none=True)

    async def ping(self):
        await self.session.send_ping()


def connect_to(url, _arguments):
    @contextlib.asynccontextmanager
    async def connect(wire, token):
        def client_factory(headers=None, timeout=None, auth=None):
            client = create_mcp_http_client(headers=headers, timeout=timeout, auth=auth)
            client.event_hooks["response"].append(wire.record)
            return client

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with streamablehttp_client(
            url, headers=headers, httpx_client_factory=client_factory
        ) as (read, write, _):
            async with ClientSession(read, write, read_timeout_seconds=timedelta(seconds=20)) as session:
                yield V1(session, await session.initialize())

    return connect


if __name__ == "__main__":
    main(connect_to)
