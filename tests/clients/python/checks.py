"""The one test body that every Python client runs, and what it needs to know of the wire.

A client's own script says how that client connects, lists and calls (`Connection`); everything
that is expected of the server is here. Results are compared as the JSON they arrived as.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import logging
import os
import sys
import traceback
import urllib.error
import urllib.request
from dataclasses import dataclass, field

SERVER_NAME = "clients-check"
TOOLS = [
    "echo_args",
    "report",
    "slow",
    "fail",
    "count",
    "remove",
    "ask_color",
    "ask_model",
    "tell",
    "change",
    "set_status",
]
STATUS = "test://status"
# What a subscription to `STATUS`, and to changes of the list of tools, tells.
STATUS_UPDATED = f"updated {STATUS}"
TOOLS_CHANGED = "tools changed"
MODERN = "2026-07-28"

# The whole run of one client. Each takes about two seconds; a hang must not hold up the others.
DEADLINE_SECONDS = 40
# How long a client may take to notice that it is refused.
REFUSAL_SECONDS = 5
# How long it may take until a client hears of something that nobody answers it.
NEWS_SECONDS = 10


class RpcError(Exception):
    """A JSON-RPC error, whichever class a client raises for it."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class News:
    """What a client was told without asking: changes and log messages, as short texts."""

    def __init__(self):
        self.told = []
        self.more = asyncio.Event()

    def tell(self, text):
        self.told.append(text)
        self.more.set()

    async def wait_for(self, text):
        """Waits until `text` was told, and forgets everything up to it."""
        try:
            async with asyncio.timeout(NEWS_SECONDS):
                while text not in self.told:
                    self.more.clear()
                    await self.more.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not told, but {self.told!r}") from None
        del self.told[: self.told.index(text) + 1]


def tell_of(news, notification):
    """Tells of a change, whatever class a client has for the notification of it."""
    match type(notification).__name__:
        case "ToolListChangedNotification":
            news.tell(TOOLS_CHANGED)
        case "ResourceUpdatedNotification":
            news.tell(f"updated {notification.params.uri}")


class User:
    """The one who answers what the server asks, in place of a human and of a model."""

    def elicit(self, message):
        """Returns the action and the content for a question."""
        if message == "Which color?":
            return "accept", {"color": "blue"}
        if message == "Remove everything?":
            return "decline", None
        return "accept", {}

    def sample(self, text):
        return f"asked: {text}"


class Connection:
    """What the test body asks of a connected client; one subclass for each client."""

    version: str
    server_name: str
    news: News
    # Whether the client can be asked; elicitation came with 2025-06-18.
    elicits = True
    # Whether the client has a way to hear of changes in this revision.
    listens = True
    # Whether the client has a way to ask for log messages in this revision.
    logs = True

    async def tools(self):
        """Returns the tools as plain JSON."""
        raise NotImplementedError

    async def call(self, name, arguments, on_progress=None):
        """Returns the result as plain JSON, or raises `RpcError`."""
        raise NotImplementedError

    async def ping(self):
        raise NotImplementedError

    async def prompts(self):
        raise NotImplementedError

    async def prompt(self, name, arguments):
        raise NotImplementedError

    async def complete(self, prompt, argument, value):
        """Returns the values for an argument of a prompt."""
        raise NotImplementedError

    async def resources(self):
        raise NotImplementedError

    async def templates(self):
        raise NotImplementedError

    async def read(self, uri):
        raise NotImplementedError

    def watching(self, uri):
        """Within this context, `news` tells of changes of the resource and of the list of tools."""
        raise NotImplementedError

    async def log_from_warning(self):
        """Asks for log messages from `warning` up, where that is a request of its own."""


@dataclass
class Wire:
    """What went over HTTP, as recorded by a hook in the client's own HTTP library."""

    responses: list = field(default_factory=list)
    session_id: str | None = None

    async def record(self, response):
        self.responses.append((response.request.method, response.status_code))
        self.session_id = response.headers.get("mcp-session-id", self.session_id)

    def statuses(self, method):
        return [status for seen, status in self.responses if seen == method]


class Warnings(logging.Handler):
    """Collects what a client logs: this is where the SDK reports a message it cannot read."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.name}: {self.format(record)}")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(what, actual, expected):
    check(actual == expected, f"{what}: expected {expected!r}, got {actual!r}")


def text_of(result):
    return "".join(block["text"] for block in result["content"] if block["type"] == "text")


async def check_call_text(connection, arguments, expected):
    result = await connection.call("echo_args", arguments)
    check(not result.get("isError"), f"echo_args {arguments!r} failed: {text_of(result)!r}")
    check_equal(f"text of echo_args {arguments!r}", text_of(result), expected)


async def check_tool_list(connection):
    tools = await connection.tools()
    check_equal("names of the tools, in the order of the file", [t["name"] for t in tools], TOOLS)
    echo = tools[0]
    check_equal("description", echo["description"], "Prints its arguments, one per line.")
    check_equal("readOnlyHint", echo["annotations"]["readOnlyHint"], True)
    schema = echo["inputSchema"]
    check_equal("type of the inputSchema", schema["type"], "object")
    check_equal("required arguments", schema["required"], ["text"])
    properties = schema["properties"]
    check_equal("properties", sorted(properties), ["count", "items", "text"])
    check_equal("type of text", properties["text"]["type"], "string")
    check_equal("type of count", properties["count"]["type"], "integer")
    check_equal("default of count", properties["count"]["default"], 2)
    check_equal("type of items", properties["items"]["type"], "array")
    check_equal("type of an item", properties["items"]["items"]["type"], "string")


async def check_calls(connection):
    await check_call_text(connection, {"text": "one"}, "one\n2\n")
    await check_call_text(
        connection, {"text": "a b", "count": 7, "items": ["-x", "", "c"]}, "a b\n7\n-x\n\nc\n"
    )
    odd = "Grüße 日本 \"quoted\" 'single' $HOME `id` ; %s\\n\nsecond line"
    await check_call_text(connection, {"text": odd}, f"{odd}\n2\n")

    result = await connection.call("report", {})
    check(not result.get("isError"), f"report failed: {text_of(result)!r}")
    check('"healthy":true' in text_of(result).replace(" ", ""), f"text of report: {text_of(result)!r}")
    # Structured results came with 2025-06-18; older clients must still find the text.
    if connection.version >= "2025-06-18":
        check_equal("structuredContent", result["structuredContent"], {"healthy": True, "checks": 3})


async def check_errors(connection):
    result = await connection.call("fail", {})
    check_equal("isError of a command that exits with 3", result.get("isError"), True)
    for part in ("3", "the disk is full"):
        check(part in text_of(result), f"text of fail lacks {part!r}: {text_of(result)!r}")

    # An argument that is missing is the model's to correct, so it is a result and not an error.
    result = await connection.call("echo_args", {"count": 1})
    check_equal("isError of a call without its argument", result.get("isError"), True)
    check("text" in text_of(result), f"the missing argument is not named: {text_of(result)!r}")

    try:
        result = await connection.call("no_such_tool", {})
    except RpcError as error:
        check_equal("code of an unknown tool", error.code, -32602)
    else:
        raise AssertionError(f"an unknown tool was called: {result!r}")


async def check_slow_call_holds_up_nobody(connection):
    done = []

    async def call(name, arguments):
        result = await connection.call(name, arguments)
        check(not result.get("isError"), f"{name} failed: {text_of(result)!r}")
        done.append(name)

    await asyncio.gather(call("slow", {"seconds": 1}), call("echo_args", {"text": "quick"}))
    check_equal("order in which the calls ended", done, ["echo_args", "slow"])


async def check_progress(connection):
    heard = []

    async def on_progress(progress, total, _message):
        heard.append((progress, total))

    result = await connection.call("count", {}, on_progress)
    check_equal("text of count", text_of(result), "counted\n")
    check_equal("progress of count", heard, [(1, 3), (2, 3), (3, 3)])


async def check_prompts(connection):
    [review] = await connection.prompts()
    check_equal("name of the prompt", review["name"], "review")
    check_equal("description of the prompt", review["description"], "Asks for a review of some code.")
    check_equal(
        "arguments of the prompt",
        [(argument["name"], argument["required"]) for argument in review["arguments"]],
        [("language", True), ("focus", True)],
    )
    result = await connection.prompt("review", {"language": "rust", "focus": "speed"})
    check_equal(
        "messages of the prompt",
        [(message["role"], message["content"]["text"]) for message in result["messages"]],
        [("user", "Review this rust code for speed.")],
    )
    check_equal(
        "completion from the values of the parameter",
        await connection.complete("review", "language", "ty"),
        ["typescript"],
    )
    check_equal(
        "completion from the list of the definition",
        await connection.complete("review", "focus", "s"),
        ["safety", "speed", "style"],
    )
    for name, arguments in [("no_such_prompt", {}), ("review", {"language": "rust"})]:
        try:
            result = await connection.prompt(name, arguments)
        except RpcError as error:
            check_equal(f"code of the prompt {name} {arguments!r}", error.code, -32602)
        else:
            raise AssertionError(f"the prompt {name} {arguments!r} was given: {result!r}")


async def check_resources(connection):
    listed = await connection.resources()
    check_equal(
        "resources, in the order of the file",
        [(resource["name"], resource["uri"]) for resource in listed],
        [("greeting", "test://greeting"), ("pixel", "test://pixel"), ("status", STATUS)],
    )
    [item] = await connection.templates()
    check_equal("URI of the template", item["uriTemplate"], "test://items/{id}")

    [greeting] = (await connection.read("test://greeting"))["contents"]
    check_equal("text of a resource", (greeting["mimeType"], greeting["text"]), ("text/plain", "Hello."))
    [pixel] = (await connection.read("test://pixel"))["contents"]
    check_equal("start of an image", base64.b64decode(pixel["blob"])[:8], b"\x89PNG\r\n\x1a\n")
    [item] = (await connection.read("test://items/a%20b"))["contents"]
    check_equal("text of a template", (item["uri"], item["text"]), ("test://items/a%20b", "This is item a b."))
    try:
        result = await connection.read("test://nothing")
    except RpcError as error:
        # The code of its own went away with 2026-07-28.
        expected = -32002 if connection.version < MODERN else -32602
        check_equal("code of an unknown resource", error.code, expected)
    else:
        raise AssertionError(f"an unknown resource was read: {result!r}")


async def check_questions(connection):
    reply = await connection.call("ask_model", {})
    check(not reply.get("isError"), f"ask_model failed: {text_of(reply)!r}")
    check("asked: Say hello." in text_of(reply), f"text of ask_model: {text_of(reply)!r}")

    color = await connection.call("ask_color", {})
    removed = await connection.call("remove", {"thing": "a file"})
    kept = await connection.call("remove", {"thing": "everything"})
    check_equal("isError of a call that the user declined", kept.get("isError"), True)
    if connection.elicits:
        answer = json.loads(text_of(color))
        check_equal("answer of the user", (answer["action"], answer["content"]), ("accept", {"color": "blue"}))
        check_equal("text of remove", text_of(removed), "removed a file")
    else:
        # A program that asks is told that it cannot; what a definition asks is not done.
        check("elicitation" in text_of(color), f"text of ask_color without elicitation: {text_of(color)!r}")
        check_equal("isError of remove without elicitation", removed.get("isError"), True)


async def check_log(connection):
    await connection.log_from_warning()
    await connection.call("tell", {})
    await connection.news.wait_for("warning tell told")


async def check_changes(connection):
    async with connection.watching(STATUS):
        await connection.call("change", {})
        await connection.news.wait_for(TOOLS_CHANGED)
        status = f"status of {os.getpid()}"
        await connection.call("set_status", {"text": status})
        await connection.news.wait_for(STATUS_UPDATED)
        [content] = (await connection.read(STATUS))["contents"]
        check_equal("text of a resource that has changed", content["text"], status)


async def check_server(connect, expected_version, token, warnings):
    """Runs everything that one client checks, from connecting to the end of its session."""
    wire = Wire()
    async with connect(wire, token) as connection:
        check_equal("negotiated version", connection.version, expected_version)
        check_equal("name of the server", connection.server_name, SERVER_NAME)
        if connection.version < MODERN:
            await connection.ping()
        await check_tool_list(connection)
        await check_calls(connection)
        await check_errors(connection)
        await check_slow_call_holds_up_nobody(connection)
        await check_progress(connection)
        await check_prompts(connection)
        await check_resources(connection)
        await check_questions(connection)
        if connection.logs:
            await check_log(connection)
        if connection.listens:
            await check_changes(connection)
        if connection.version < MODERN:
            await connection.ping()

    if expected_version < MODERN:
        check(wire.session_id, "no session was opened")
        check(200 in wire.statuses("GET"), f"the event stream was not opened: {wire.responses}")
        deleted = wire.statuses("DELETE")
        check(deleted and deleted[-1] in (200, 204), f"the session was not ended: {wire.responses}")
    else:
        check(wire.session_id is None, "a session was opened where there are none")
        check_equal("GET and DELETE", wire.statuses("GET") + wire.statuses("DELETE"), [])
    check_equal("warnings of the client", warnings.lines, [])
    return wire.session_id


async def check_refused(connect, token, what):
    """Checks that a client without the right token gets nothing but 401."""
    wire = Wire()
    connected = False
    with contextlib.suppress(asyncio.TimeoutError, Exception, asyncio.CancelledError):
        async with asyncio.timeout(REFUSAL_SECONDS):
            async with connect(wire, token):
                connected = True
    check(not connected, f"a client with {what} was let in")
    statuses = {status for _, status in wire.responses}
    check_equal(f"what a client with {what} was answered", statuses, {401})


def check_session_is_gone(url, session_id, version, token):
    """The session that the client ended must not be usable by anybody."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Mcp-Session-Id": session_id,
        "MCP-Protocol-Version": version,
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    request = urllib.request.Request(url, body, headers)
    try:
        status = urllib.request.urlopen(request, timeout=5).status
    except urllib.error.HTTPError as error:
        status = error.code
    check_equal("status of a request in an ended session", status, 404)


def main(connect_to, **extra_arguments):
    """Runs the checks of the client that `connect_to(url, arguments)` knows how to connect."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--expect", required=True, help="the version that must be negotiated")
    for name, options in extra_arguments.items():
        parser.add_argument(f"--{name}", **options)
    arguments = parser.parse_args()
    token = os.environ.get("CLIENT_TOKEN") or None

    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    connect = connect_to(arguments.url, arguments)

    async def run():
        async with asyncio.timeout(DEADLINE_SECONDS):
            session_id = await check_server(connect, arguments.expect, token, warnings)
            if session_id:
                check_session_is_gone(arguments.url, session_id, arguments.expect, token)
            if token:
                await check_refused(connect, token[:-1] + ("x" if token[-1] != "x" else "y"), "a wrong token")
                await check_refused(connect, None, "no token")

    try:
        asyncio.run(run())
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        # A client that failed may leave threads or tasks behind that keep the process alive.
        os._exit(1)
