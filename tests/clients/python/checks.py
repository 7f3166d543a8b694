"""The one test body that every Python client runs, and what it needs to know of the wire.

A client's own script says how that client connects, lists and calls (`Connection`); everything
that is expected of the server is here. Results are compared as the JSON they arrived as.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import traceback
import urllib.error
import urllib.request
from dataclasses import dataclass, field

SERVER_NAME = "clients-check"
TOOLS = ["echo_args", "report", "slow", "fail", "count"]
MODERN = "2026-07-28"

# The whole run of one client. Each takes about two seconds; a hang must not hold up the others.
DEADLINE_SECONDS = 40
# How long a client may take to notice that it is refused.
REFUSAL_SECONDS = 5


class RpcError(Exception):
    """A JSON-RPC error, whichever class a client raises for it."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Connection:
    """What the test body asks of a connected client; one subclass for each client."""

    version: str
    server_name: str

    async def tools(self):
        """Returns the tools as plain JSON."""
        raise NotImplementedError

    async def call(self, name, arguments, on_progress=None):
        """Returns the result as plain JSON, or raises `RpcError`."""
        raise NotImplementedError

    async def ping(self):
        raise NotImplementedError


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
