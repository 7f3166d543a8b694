"""The `mcp` package, 2.x: 2026-07-28 without sessions, or in its legacy mode 2025-11-25."""

import asyncio
import contextlib
import warnings

import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from checks import MODERN, Connection, News, RpcError, User, main, tell_of

# What 2026-07-28 did away with is still what sessions have.
warnings.filterwarnings("ignore", category=MCPDeprecationWarning)


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


class V2(Connection):
    def __init__(self, client, news):
        self.client = client
        self.version = client.protocol_version
        self.server_name = client.server_info.name
        self.news = news

    async def tools(self):
        return plain(await self.client.list_tools())["tools"]

    async def call(self, name, arguments, on_progress=None):
        return await self.result_of(self.client.call_tool(name, arguments, progress_callback=on_progress))

    async def ping(self):
        await self.client.send_ping()

    async def prompts(self):
        return plain(await self.client.list_prompts())["prompts"]

    async def prompt(self, name, arguments):
        return await self.result_of(self.client.get_prompt(name, arguments))

    async def complete(self, prompt, argument, value):
        reference = types.PromptReference(type="ref/prompt", name=prompt)
        result = await self.client.complete(reference, {"name": argument, "value": value})
        return result.completion.values

    async def resources(self):
        return plain(await self.client.list_resources())["resources"]

    async def templates(self):
        return plain(await self.client.list_resource_templates())["resourceTemplates"]

    async def read(self, uri):
        return await self.result_of(self.client.read_resource(uri))

    @contextlib.asynccontextmanager
    async def watching(self, uri):
        if self.version < MODERN:
            await self.client.subscribe_resource(uri)
            yield
            await self.client.unsubscribe_resource(uri)
            return
        async with self.client.listen(tools_list_changed=True, resource_subscriptions=[uri]) as subscription:
            # The stream's notifications also reach the message handler, which tells of them.
            async def drain():
                async for _ in subscription:
                    pass

            draining = asyncio.create_task(drain())
            yield
            draining.cancel()

    async def log_from_warning(self):
        if self.version < MODERN:
            await self.client.set_logging_level("warning")

    async def result_of(self, request):
        try:
            return plain(await request)
        except MCPError as error:
            raise RpcError(error.error.code, error.error.message) from error


def callbacks(news):
    """Returns what a client does when it is asked or told something."""
    user = User()

    async def on_sampling(_context, params):
        content = types.TextContent(type="text", text=user.sample(params.messages[0].content.text))
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def on_elicitation(_context, params):
        action, content = user.elicit(params.message)
        return types.ElicitResult(action=action, content=content)

    async def on_log(params):
        news.tell(f"{params.level} {params.logger} {params.data}")

    async def on_message(message):
        tell_of(news, message)

    return {
        "sampling_callback": on_sampling,
        "elicitation_callback": on_elicitation,
        "logging_callback": on_log,
        "log_level": "warning",
        "message_handler": on_message,
    }


def connect_to(url, arguments):
    @contextlib.asynccontextmanager
    async def connect(wire, token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        news = News()
        async with create_mcp_http_client(headers=headers) as http_client:
            http_client.event_hooks["response"].append(wire.record)
            transport = streamable_http_client(url, http_client=http_client)
            async with Client(
                transport, mode=arguments.mode, read_timeout_seconds=20, **callbacks(news)
            ) as client:
                yield V2(client, news)

    return connect


if __name__ == "__main__":
    main(connect_to, mode={"default": "auto"})
