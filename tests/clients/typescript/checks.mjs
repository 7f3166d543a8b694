// The one test body that every TypeScript client runs, and what it needs to know of the wire.
//
// A client's own script says how that client connects, lists and calls; everything that is
// expected of the server is here.

import assert from "node:assert/strict";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

export const MODERN = "2026-07-28";

const SERVER_NAME = "clients-check";
export const TOOLS = [
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
];
export const STATUS = "test://status";

// The whole run of one client. Each takes about two seconds; a hang must not hold up the others.
const DEADLINE_MS = 40_000;
// How long it may take until a client hears of something that nobody answers it.
const NEWS_MS = 10_000;

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

/** What a client was told without asking: changes and log messages, as short texts. */
export class News {
  told = [];
  #more = () => {};

  tell(text) {
    this.told.push(text);
    this.#more();
  }

  /** Waits until `text` was told, and forgets everything up to it. */
  async waitFor(text) {
    const deadline = AbortSignal.timeout(NEWS_MS);
    while (!this.told.includes(text)) {
      await new Promise((resolve, reject) => {
        this.#more = resolve;
        deadline.onabort = () => reject(new Error(`"${text}" was not told, but ${JSON.stringify(this.told)}`));
      });
    }
    this.told.splice(0, this.told.indexOf(text) + 1);
  }

  toldOfLog({ params: { level, logger, data } }) {
    this.tell(`${level} ${logger} ${data}`);
  }

  toldOfResource({ params }) {
    this.tell(`updated ${params.uri}`);
  }

  toldOfTools() {
    this.tell("tools changed");
  }
}

/** The one who answers what the server asks, in place of a human and of a model. */
export const user = {
  elicit({ params: { message } }) {
    if (message === "Which color?") return { action: "accept", content: { color: "blue" } };
    if (message === "Remove everything?") return { action: "decline" };
    return { action: "accept", content: {} };
  },
  sample({ params: { messages } }) {
    const text = `asked: ${[messages[0].content].flat()[0].text}`;
    return { role: "assistant", content: { type: "text", text }, model: "none" };
  },
};

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

async function checkPrompts(connection) {
  const [review, ...others] = await connection.prompts();
  assert.equal(others.length, 0, "only one prompt");
  assert.equal(review.name, "review");
  assert.equal(review.description, "Asks for a review of some code.");
  assert.deepEqual(
    review.arguments.map((argument) => [argument.name, argument.required]),
    [["language", true], ["focus", true]],
  );
  const { messages } = await connection.prompt("review", { language: "rust", focus: "speed" });
  assert.deepEqual(
    messages.map((message) => [message.role, message.content.text]),
    [["user", "Review this rust code for speed."]],
  );
  assert.deepEqual(await connection.complete("review", "language", "ty"), ["typescript"], "from the values of the parameter");
  assert.deepEqual(await connection.complete("review", "focus", "s"), ["safety", "speed", "style"], "from the definition");
  await assert.rejects(connection.prompt("no_such_prompt", {}), { code: -32602 }, "an unknown prompt");
  await assert.rejects(connection.prompt("review", { language: "rust" }), { code: -32602 }, "a prompt without its argument");
}

async function checkResources(connection) {
  assert.deepEqual(
    (await connection.resources()).map((resource) => [resource.name, resource.uri]),
    [["greeting", "test://greeting"], ["pixel", "test://pixel"], ["status", STATUS]],
  );
  assert.deepEqual((await connection.templates()).map((template) => template.uriTemplate), ["test://items/{id}"]);

  const [greeting] = (await connection.read("test://greeting")).contents;
  assert.deepEqual([greeting.mimeType, greeting.text], ["text/plain", "Hello."]);
  const [pixel] = (await connection.read("test://pixel")).contents;
  assert.equal(Buffer.from(pixel.blob, "base64").toString("latin1").slice(0, 4), "\x89PNG");
  const [item] = (await connection.read("test://items/a%20b")).contents;
  assert.deepEqual([item.uri, item.text], ["test://items/a%20b", "This is item a b."]);
  // The code of its own went away with 2026-07-28; a newer client turns it into the other by itself.
  const codes = connection.version < MODERN ? [-32002, -32602] : [-32602];
  await assert.rejects(connection.read("test://nothing"), ({ code }) => codes.includes(code), "an unknown resource");
}

async function checkQuestions(connection) {
  const reply = await connection.call("ask_model", {});
  assert.ok(!reply.isError, `ask_model failed: ${textOf(reply)}`);
  assert.match(textOf(reply), /asked: Say hello\./);

  const color = await connection.call("ask_color", {});
  const removed = await connection.call("remove", { thing: "a file" });
  const kept = await connection.call("remove", { thing: "everything" });
  assert.equal(kept.isError, true, "a call that the user declined");
  if (connection.elicits) {
    const { action, content } = JSON.parse(textOf(color));
    assert.deepEqual([action, content], ["accept", { color: "blue" }]);
    assert.equal(textOf(removed), "removed a file");
  } else {
    // A program that asks is told that it cannot; what a definition asks is not done.
    assert.match(textOf(color), /elicitation/);
    assert.equal(removed.isError, true, "a call that nobody could confirm");
  }
}

async function checkLog(connection) {
  await connection.logFromWarning();
  await connection.call("tell", {});
  await connection.news.waitFor("warning tell told");
}

async function checkChanges(connection) {
  const stop = await connection.watch(STATUS);
  await connection.call("change", {});
  await connection.news.waitFor("tools changed");
  const text = `status of ${process.pid}`;
  await connection.call("set_status", { text });
  await connection.news.waitFor(`updated ${STATUS}`);
  assert.equal((await connection.read(STATUS)).contents[0].text, text, "a resource that has changed");
  await stop();
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
  // On standard input, the client drops progress that it reads in one go with the result.
  if (connection.direct) await checkProgress(connection);
  await checkPrompts(connection);
  await checkResources(connection);
  await checkQuestions(connection);
  await checkLog(connection);
  await checkChanges(connection);
  await connection.moreChecks?.();
  if (legacy) await connection.ping();
  assert.deepEqual(connection.errors, [], "errors that the client reported");
  await connection.close();
  if (!connection.direct) return undefined;

  const refused = wire.responses.map((seen) => seen.status).filter((status) => status >= 400);
  if (legacy) {
    assert.ok(wire.sessionId, "no session was opened");
    assert.deepEqual(wire.statuses("GET"), [200], "the event stream");
    assert.ok([200, 204].includes(wire.statuses("DELETE")[0]), "the end of the session");
    assert.deepEqual(refused, [], "requests that were refused");
  } else {
    assert.equal(wire.sessionId, undefined, "a session where there are none");
    assert.deepEqual(refused, [400, 400, 400, 400], "only what is unknown or incomplete is refused");
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

/** Says how to start a package's program that is a server for its parent, and the server's client. */
export function bridge(name, url, token) {
  const program = fileURLToPath(import.meta.resolve(`${name}/dist/proxy.js`));
  const header = token ? ["--header", `Authorization:${bearer(token).Authorization}`] : [];
  return { command: process.execPath, args: [program, url.href, ...header], stderr: "ignore" };
}

/** Runs the checks of the client that `connectTo(url, options)` knows how to connect. */
export async function main(connectTo) {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      expect: { type: "string" },
      package: { type: "string" },
      through: { type: "string" },
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
    // Told to log in, a program in between would open a browser and wait.
    if (token && !values.through) {
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
