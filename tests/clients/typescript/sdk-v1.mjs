// `@modelcontextprotocol/sdk` 1.x: 2025-03-26, 2025-06-18 or 2025-11-25, as old as the package is;
// by itself, or through a program that brings what it is told on standard input to the server.

import assert from "node:assert/strict";
import { News, bearer, bridge, main, user } from "./checks.mjs";

await main(async (url, options) => {
  const { Client } = await import(`${options.package}/client/index.js`);
  const { StreamableHTTPClientTransport } = await import(`${options.package}/client/streamableHttp.js`);
  const { StdioClientTransport } = await import(`${options.package}/client/stdio.js`);
  const types = await import(`${options.package}/types.js`);
  // The oldest one does not know that a user can be asked.
  const elicits = types.ElicitRequestSchema !== undefined;

  return async (token) => {
    const news = new News();
    const capabilities = { sampling: {}, ...(elicits && { elicitation: {} }) };
    const client = new Client({ name: options.package, version: "1" }, { capabilities });
    client.setRequestHandler(types.CreateMessageRequestSchema, user.sample);
    if (elicits) client.setRequestHandler(types.ElicitRequestSchema, user.elicit);
    client.setNotificationHandler(types.LoggingMessageNotificationSchema, (message) => news.toldOfLog(message));
    client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, (message) => news.toldOfResource(message));
    client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => news.toldOfTools());
    const transport = options.through
      ? new StdioClientTransport(bridge(options.through, url, token))
      : new StreamableHTTPClientTransport(url, { requestInit: { headers: bearer(token) } });
    const connection = { errors: [], direct: !options.through };
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
      prompts: async () => (await client.listPrompts()).prompts,
      prompt: (name, args) => client.getPrompt({ name, arguments: args }),
      complete: async (name, argument, value) => {
        const params = { ref: { type: "ref/prompt", name }, argument: { name: argument, value } };
        return (await client.complete(params)).completion.values;
      },
      resources: async () => (await client.listResources()).resources,
      templates: async () => (await client.listResourceTemplates()).resourceTemplates,
      read: (uri) => client.readResource({ uri }),
      logFromWarning: () => client.setLoggingLevel("warning"),
      watch: async (uri) => {
        await client.subscribeResource({ uri });
        return () => client.unsubscribeResource({ uri });
      },
      news,
      elicits,
      close: async () => {
        await transport.terminateSession?.();
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
