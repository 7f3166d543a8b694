// A client that logs in by itself (the client credentials grant of RFC 6749, section 4.4): it is told
// where by the server's 401 and its metadata, gets a token for this server, and one for more when the
// server asks for more. `--package` is either TypeScript SDK; 1.x asks for the scopes that it is
// configured with (`--scope`), whatever a server says.

import assert from "node:assert/strict";
import process from "node:process";
import { parseArgs } from "node:util";

const DEADLINE_MS = 40_000;

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    issuer: { type: "string" },
    client: { type: "string" },
    package: { type: "string" },
    mode: { type: "string", default: "legacy" },
    // With commas between them.
    scope: { type: "string" },
  },
});

/** The classes of an SDK, which each keeps elsewhere. */
async function sdk() {
  if (options.package === "client-v2") return await import("@modelcontextprotocol/client");
  const { Client } = await import(`${options.package}/client/index.js`);
  const { StreamableHTTPClientTransport } = await import(`${options.package}/client/streamableHttp.js`);
  const { ClientCredentialsProvider } = await import(`${options.package}/client/auth-extensions.js`);
  return { Client, StreamableHTTPClientTransport, ClientCredentialsProvider };
}

async function main() {
  const { Client, StreamableHTTPClientTransport, ClientCredentialsProvider } = await sdk();
  const scope = options.scope?.replaceAll(",", " ");
  const authProvider = new ClientCredentialsProvider({
    clientId: options.client,
    clientSecret: process.env.CLIENT_SECRET,
    expectedIssuer: options.issuer,
    scope,
  });
  const scopes = () => authProvider.tokens().scope.split(" ").sort().join(" ");

  const mode = options.mode === "legacy" ? "legacy" : { pin: options.mode };
  const client = new Client({ name: "oauth", version: "1" }, { capabilities: {}, versionNegotiation: { mode } });
  assert.equal(authProvider.tokens(), undefined);
  await client.connect(new StreamableHTTPClientTransport(new URL(options.url), { authProvider }));
  // No more than every client needs.
  const first = scope ?? "notes:read";
  assert.equal(scopes(), first);

  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map((tool) => tool.name),
    ["read_note", "write_note"],
  );
  const say = async (name) => (await client.callTool({ name, arguments: {} })).content[0].text;
  assert.equal(await say("read_note"), `${options.client} ${first}`);

  // A 403 on the way, unless it has the scope: the client asks the authorization server for more, and
  // tries again. What was granted before must not be lost with it.
  const [caller, ...granted] = (await say("write_note")).split(" ");
  assert.equal(caller, options.client);
  assert.deepEqual(granted.sort(), ["notes:read", "notes:write"]);
  assert.equal(scopes(), "notes:read notes:write");
  assert.match(await say("read_note"), /^\S+ notes:read notes:write$|^\S+ notes:write notes:read$/);

  await assert.rejects(say("remove_notes"), /unknown/i);
  await client.close();
}

const deadline = setTimeout(() => {
  console.error(`not done after ${DEADLINE_MS} ms`);
  process.exit(1);
}, DEADLINE_MS);
try {
  await main();
} catch (error) {
  console.error(error);
  process.exit(1);
}
clearTimeout(deadline);
