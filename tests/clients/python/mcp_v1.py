"""The `mcp` package, 1.x: 2025-03-26, 2025-06-18 or 2025-11-25, as old as the package is."""

import contextlib
import inspect
from datetime import timedelta

from mcp import ClientSession, types
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from checks import Connection, News, RpcError, User, main, tell_of

CAN_ELICIT = "elicitation_callback" in inspect.signature(ClientSession).parameters


def plain(result):
    return result.model_dump(mode="json", exclude_none=True)


class V1(Connection):
    elicits = CAN_ELICIT

    def __init__(self, session, initialized, news):
        self.session = session
        self.version = str(initialized.protocolVersion)
        self.server_name = initialized.serverInfo.name
        self.news = news

    async def tools(self):
        return plain(await self.session.list_tools())["tools"]

    async def call(self, name, arguments, on_progress=None):
        call = self.session.call_tool(name, arguments, progress_callback=on_progress)
        return await self.result_of(call)

    async def ping(self):
        await self.session.send_ping()

    async def prompts(self):
        return plain(await self.session.list_prompts())["prompts"]

    async def prompt(self, name, arguments):
        return await self.result_of(self.session.get_prompt(name, arguments))

    async def complete(self, prompt, argument, value):
        reference = types.PromptReference(type="ref/prompt", name=prompt)
        result = await self.session.complete(reference, {"name": argument, "value": value})
        return result.completion.values

    async def resources(self):
        return plain(await self.session.list_resources())["resources"]

    async def templates(self):
        return plain(await self.session.list_resource_templates())["resourceTemplates"]

    async def read(self, uri):
        return await self.result_of(self.session.read_resource(AnyUrl(uri)))

    @contextlib.asynccontextmanager
    async def watching(self, uri):
        await self.session.subscribe_resource(AnyUrl(uri))
        yield
        await self.session.unsubscribe_resource(AnyUrl(uri))

    async def log_from_warning(self):
        await self.session.set_logging_level("warning")

    async def result_of(self, request):
        try:
            return plain(await request)
        except McpError as error:
            raise RpcError(error.error.code, error.error.message) from error


def callbacks(news):
    """Returns what a session does when it is asked or told something."""
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
        tell_of(news, getattr(message, "root", None))

    known = {"sampling_callback": on_sampling, "logging_callback": on_log, "message_handler": on_message}
    if CAN_ELICIT:
        known["elicitation_callback"] = on_elicitation
    return known


def connect_to(url, _arguments):
    @contextlib.asynccontextmanager
    async def connect(wire, token):
        def client_factory(headers=None, timeout=None, auth=None):
            client = create_mcp_http_client(headers=headers, timeout=timeout, auth=auth)
            client.event_hooks["response"].append(wire.record)
            return client

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        news = News()
        async with streamablehttp_client(
            url, headers=headers, httpx_client_factory=client_factory
        ) as (read, write, _):
            async with ClientSession(
                read, write, read_timeout_seconds=timedelta(seconds=20), **callbacks(news)
            ) as session:
                yield V1(session, await session.initialize(), news)

    return connect


if __name__ == "__main__":
    main(connect_to)
