// The one test body that every TypeScript client runs, and what it needs to know of the wire.
//
// A client's own script says how that client connects, lists and calls; everything that is
// expected of the server is here.

import assert from "node:assert/strict";
import process from "node:process";
import { parseArgs } from "node:util";

export const MODERN = "2026-07-28";

const SERVER_NAME = "clients-check";
const TOOLS = ["echo_args", "report", "slow", "fail", "count"];

// The whole run of one client. Each takes about two seconds; a hang must not hold up the others.
const DEADLINE_MS = 40_000;

const fetchFromNetwork = globalThis.fetch;

/** Records what goes over HTTP, in place of the `fetch` that every SDK here uses. */
class Wire {
  responses = [];
  sessionId = undefined;

  constructor() {
    globalThis.fetch = async (url, init) => {
      const response = await fetchFromNetwork(url, init);
      this.responses.push({ method: init?.method ?? "GET", status: response.status });
      this.sessionId = response.headers.get("mcp-session-id") ?? this.sessionId;
      return response;
    };
  }

  statuses(method) {
    return this.responses.filter((seen) => seen.method === method).map((seen) => seen.status);
  }
}

function textOf(result) {
  return result.content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

async function checkCallText(connection, args, expected) {
  const result = await connection.call("echo_args", args);
  assert.ok(!result.isError, `echo_args failed: ${textOf(result)}`);
  assert.equal(textOf(result), expected);
}

async function checkToolList(connection) {
  const tools = await connection.tools();
  assert.deepEqual(tools.map((tool) => tool.name), TOOLS, "names of the tools, in the order of the file");
  const [echo] = tools;
  assert.equal(echo.description, "Prints its arguments, one per line.");
  assert.equal(echo.annotations.readOnlyHint, true);
  const { type, required, properties } = echo.inputSchema;
  assert.equal(type, "object");
  assert.deepEqual(required, ["text"]);
  assert.deepEqual(Object.keys(properties).sort(), ["count", "items", "text"]);
  assert.equal(properties.text.type, "string");
  assert.equal(properties.count.type, "integer");
  assert.equal(properties.count.default, 2);
  assert.equal(properties.items.type, "array");
  assert.equal(properties.items.items.type, "string");
}

async function checkCalls(connection) {
  await checkCallText(connection, { text: "one" }, "one\n2\n");
  await checkCallText(connection, { text: "a b", count: 7, items: ["-x", "", "c"] }, "a b\n7\n-x\n\nc\n");
  const odd = "Grüße 日本 \"quoted\" 'single' $HOME `id` ; %s\\n\nsecond line";
  await checkCallText(connection, { text: odd }, `${odd}\n2\n`);

  const report = await connection.call("report", {});
  assert.ok(!report.isError, `report failed: ${textOf(report)}`);
  assert.deepEqual(JSON.parse(textOf(report)), { healthy: true, checks: 3 });
  // Structured results came with 2025-06-18; older clients must still find the text.
  if (connection.version >= "2025-06-18") {
    assert.deepEqual(report.structuredContent, { healthy: true, checks: 3 });
  }
}

async function checkErrors(connection) {
  const failed = await connection.call("fail", {});
  assert.equal(failed.isError, true, "a command that exits with 3");
  assert.match(textOf(failed), /3/);
  assert.match(textOf(failed), /the disk is full/);

  // An argument that is missing is the model's to correct, so it is a result and not an error.
  const incomplete = await connection.call("echo_args", { count: 1 });
  assert.equal(incomplete.isError, true, "a call without its argument");
  assert.match(textOf(incomplete), /text/);

  await assert.rejects(connection.call("no_such_tool", {}), { code: -32602 }, "an unknown tool");
}

async function checkSlowCallHoldsUpNobody(connection) {
  const done = [];
  const call = async (name, args) => {
    const result = await connection.call(name, args);
    assert.ok(!result.isError, `${name} failed: ${textOf(result)}`);
    done.push(name);
  };
  await Promise.all([call("slow", { seconds: 1 }), call("echo_args", { text: "quick" })]);
  assert.deepEqual(done, ["echo_args", "slow"], "order in which the calls ended");
}

async function checkProgress(connection) {
  const heard = [];
  const result = await connection.call("count", {}, (progress) => heard.push([progress.progress, progress.total]));
  assert.equal(textOf(result), "counted\n");
  assert.deepEqual(heard, [[1, 3], [2, 3], [3, 3]], "progress of count");
}

/** Runs everything that one client checks, from connecting to the end of its session. */
async function checkServer(connect, expectedVersion, token) {
  const wire = new Wire();
  const connection = await connect(token);
  const legacy = expectedVersion < MODERN;

  assert.equal(connection.version, expectedVersion, "negotiated version");
  assert.equal(connection.serverName, SERVER_NAME, "name of the server");
  if (legacy) await connection.ping();
  await checkToolList(connection);
  await checkCalls(connection);
  await checkErrors(connection);
  await checkSlowCallHoldsUpNobody(connection);
  await checkProgress(connection);
  await connection.moreChecks?.();
  if (legacy) await connection.ping();
  assert.deepEqual(connection.errors, [], "errors that the client reported");
  await connection.close();

  const refused = wire.responses.map((seen) => seen.status).filter((status) => status >= 400);
  if (legacy) {
    assert.ok(wire.sessionId, "no session was opened");
    assert.deepEqual(wire.statuses("GET"), [200], "the event stream");
    assert.ok([200, 204].includes(wire.statuses("DELETE")[0]), "the end of the session");
    assert.deepEqual(refused, [], "requests that were refused");
  } else {
    assert.equal(wire.sessionId, undefined, "a session where there are none");
    assert.deepEqual(refused, [400], "only the unknown tool is refused");
  }
  return wire.sessionId;
}

/** Checks that a client without the right token gets nothing but 401. */
async function checkRefused(connect, token, what) {
  const wire = new Wire();
  await assert.rejects(connect(token), undefined, `a client with ${what} was let in`);
  const statuses = new Set(wire.responses.map((seen) => seen.status));
  assert.deepEqual([...statuses], [401], `what a client with ${what} was answered`);
}

/** The session that the client ended must not be usable by anybody. */
async function checkSessionIsGone(url, sessionId, version, token) {
  const response = await fetchFromNetwork(url, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json, text/event-stream",
      "Mcp-Session-Id": sessionId,
      "MCP-Protocol-Version": version,
      ...bearer(token),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
  });
  assert.equal(response.status, 404, "status of a request in an ended session");
}

export function bearer(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Runs the checks of the client that `connectTo(url, options)` knows how to connect. */
export async function main(connectTo) {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      expect: { type: "string" },
      package: { type: "string" },
      mode: { type: "string" },
    },
  });
  const token = process.env.CLIENT_TOKEN || undefined;
  const deadline = setTimeout(() => {
    console.error(`not done after ${DEADLINE_MS} ms`);
    process.exit(1);
  }, DEADLINE_MS);
  try {
    const connect = await connectTo(new URL(values.url), values);
    const sessionId = await checkServer(connect, values.expect, token);
    if (sessionId) await checkSessionIsGone(values.url, sessionId, values.expect, token);
    if (token) {
      const other = token.slice(0, -1) + (token.endsWith("x") ? "y" : "x");
      await checkRefused(connect, other, "a wrong token");
      await checkRefused(connect, undefined, "no token");
    }
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
  clearTimeout(deadline);
}
