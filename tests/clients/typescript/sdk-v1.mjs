// `@modelcontextprotocol/sdk` 1.x: 2025-03-26, 2025-06-18 or 2025-11-25, as old as the package is.

import assert from "node:assert/strict";
import { bearer, main } from "./checks.mjs";

await main(async (url, options) => {
  const { Client } = await import(`${options.package}/client/index.js`);
  const { StreamableHTTPClientTransport } = await import(`${options.package}/client/streamableHttp.js`);

  return async (token) => {
    const client = new Client({ name: options.package, version: "1" });
    const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers: bearer(token) } });
    const connection = { errors: [] };
    client.onerror = (error) => connection.errors.push(error);

    // The SDK keeps the negotiated version to itself, and the oldest one does not keep it at all.
    const request = client.request.bind(client);
    client.request = async (message, ...rest) => {
      const result = await request(message, ...rest);
      if (message.method === "initialize") connection.version = result.protocolVersion;
      return result;
    };
    await client.connect(transport);

    return Object.assign(connection, {
      serverName: client.getServerVersion().name,
      tools: async () => (await client.listTools()).tools,
      call: (name, args, onprogress) => client.callTool({ name, arguments: args }, undefined, { onprogress }),
      ping: () => client.ping(),
      close: async () => {
        await transport.terminateSession();
        await client.close();
      },
      // 2025-03-26 is the one revision with batches; its servers must accept them.
      moreChecks: connection.version === "2025-03-26" ? () => checkBatch(transport) : undefined,
    });
  };
});

async function checkBatch(transport) {
  const answers = new Map();
  const deliver = transport.onmessage;
  await new Promise((resolve, reject) => {
    transport.onmessage = (message, ...rest) => {
      if (!String(message.id).startsWith("batch-")) return deliver(message, ...rest);
      answers.set(message.id, message);
      if (answers.size === 2) resolve();
    };
    transport
      .send([
        { jsonrpc: "2.0", id: "batch-ping", method: "ping" },
        { jsonrpc: "2.0", id: "batch-call", method: "tools/call", params: { name: "echo_args", arguments: { text: "b" } } },
      ])
      .catch(reject);
  });
  transport.onmessage = deliver;
  assert.deepEqual(answers.get("batch-ping").result, {});
  assert.equal(answers.get("batch-call").result.content[0].text, "b\n2\n");
}
