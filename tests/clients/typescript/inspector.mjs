// The command line of `@modelcontextprotocol/inspector`: one program, and one connection, for each
// request. It shows results as they came, and asks nobody anything.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { MODERN, STATUS, TOOLS, bearer } from "./checks.mjs";

const LAUNCHER = fileURLToPath(import.meta.resolve("@modelcontextprotocol/inspector/clients/launcher/build/index.js"));

// What it exits with when a tool says that it failed, and otherwise.
const TOOL_FAILED = 5;
// One request, with the start of the program.
const REQUEST_MS = 20_000;

const { values } = parseArgs({
  options: { url: { type: "string" }, expect: { type: "string" }, mode: { type: "string" } },
});
const token = process.env.CLIENT_TOKEN || undefined;

/** Returns the exit status and the result of one request. */
function ask(method, ...options) {
  const header = token ? ["--header", `Authorization: ${bearer(token).Authorization}`] : [];
  const connection = ["--transport", "http", "--protocol-era", values.mode, "--stored-auth-only", ...header];
  const words = [LAUNCHER, "--cli", values.url, ...connection, "--method", method, ...options];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, words, { timeout: REQUEST_MS }, (error, stdout, stderr) => {
      if (typeof error?.code === "string" || error?.killed) return reject(error);
      const shown = stdout.trim();
      resolve({ status: error?.code ?? 0, result: shown && JSON.parse(shown), stderr });
    });
  });
}

async function result(method, ...options) {
  const { status, result, stderr } = await ask(method, ...options);
  assert.equal(status, 0, `${method} ended with ${status}: ${stderr}`);
  return result;
}

async function checkTools() {
  const { tools } = await result("tools/list");
  assert.deepEqual(tools.map((tool) => tool.name), TOOLS);
  const echo = await result("tools/call", "--tool-name", "echo_args", "--tool-args-json", '{"text":"a b","items":["-x"]}');
  assert.equal(echo.content[0].text, "a b\n2\n-x\n");
  // Without sessions, a result says by itself which server it is from.
  assert.equal(echo._meta !== undefined, values.expect >= MODERN, "a result without a session");
  const { status, result: failed } = await ask("tools/call", "--tool-name", "fail");
  assert.deepEqual([status, failed.isError], [TOOL_FAILED, true]);
}

async function checkPrompts() {
  const { prompts } = await result("prompts/list");
  assert.deepEqual(prompts.map((prompt) => prompt.name), ["review"]);
  const review = await result("prompts/get", "--prompt-name", "review", "--prompt-args", "language=rust", "focus=speed");
  assert.equal(review.messages[0].content.text, "Review this rust code for speed.");
}

async function checkResources() {
  const { resources } = await result("resources/list");
  assert.deepEqual(resources.map((resource) => resource.uri), ["test://greeting", "test://pixel", STATUS]);
  const { resourceTemplates } = await result("resources/templates/list");
  assert.deepEqual(resourceTemplates.map((template) => template.uriTemplate), ["test://items/{id}"]);
  const greeting = await result("resources/read", "--uri", "test://greeting");
  assert.equal(greeting.contents[0].text, "Hello.");
}

// Most of the time goes into starting the program.
await Promise.all([checkTools(), checkPrompts(), checkResources()]);
