"""The client of `fastmcp` 4.x: 2026-07-28 when the server has it."""

import contextlib

import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

from checks import Connection, News, RpcError, User, main, tell_of


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


class FastMcp(Connection):
    # It has no way to open a stream of changes.
    listens = False

    def __init__(self, client, news):
        self.client = client
        self.version = client.protocol_version
        self.server_name = client.server_info.name
        self.news = news

    async def tools(self):
        return [plain(tool) for tool in await self.client.list_tools()]

    async def call(self, name, arguments, on_progress=None):
        # The client says by itself nothing of the log messages that it wants.
        meta = {"io.modelcontextprotocol/logLevel": "warning"}
        return await self.result_of(
            self.client.call_tool_mcp(name, arguments, progress_handler=on_progress, meta=meta)
        )

    async def ping(self):
        await self.client.ping()

    async def prompts(self):
        return [plain(prompt) for prompt in await self.client.list_prompts()]

    async def prompt(self, name, arguments):
        return await self.result_of(self.client.get_prompt_mcp(name, arguments))

    async def complete(self, prompt, argument, value):
        reference = types.PromptReference(type="ref/prompt", name=prompt)
        return (await self.client.complete(reference, {"name": argument, "value": value})).values

    async def resources(self):
        return [plain(resource) for resource in await self.client.list_resources()]

    async def templates(self):
        return [plain(template) for template in await self.client.list_resource_templates()]

    async def read(self, uri):
        return await self.result_of(self.client.read_resource_mcp(uri))

    async def log_from_warning(self):
        """Each call asks for them."""

    async def result_of(self, request):
        try:
            return plain(await request)
        except MCPError as error:
            raise RpcError(error.error.code, error.error.message) from error


def handlers(news):
    """Returns what a client does when it is asked or told something."""
    user = User()

    async def on_sampling(messages, _params, _context):
        return user.sample(messages[0].content.text)

    async def on_elicitation(message, _type, _params, _context):
        action, content = user.elicit(message)
        return types.ElicitResult(action=action, content=content)

    async def on_log(params):
        news.tell(f"{params.level} {params.logger} {params.data}")

    async def on_message(message):
        tell_of(news, message)

    return {
        "sampling_handler": on_sampling,
        "elicitation_handler": on_elicitation,
        "log_handler": on_log,
        "message_handler": on_message,
    }


def connect_to(url, arguments):
    @contextlib.asynccontextmanager
    async def connect(wire, token):
        def client_factory(headers=None, timeout=None, auth=None, **_):
            client = create_mcp_http_client(headers=headers, timeout=timeout, auth=auth)
            client.event_hooks["response"].append(wire.record)
            return client

        news = News()
        transport = StreamableHttpTransport(url, auth=token, httpx_client_factory=client_factory)
        async with Client(transport, mode=arguments.mode, timeout=20, **handlers(news)) as client:
            yield FastMcp(client, news)

    return connect


if __name__ == "__main__":
    main(connect_to, mode={"default": "auto"})
