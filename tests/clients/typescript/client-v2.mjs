// `@modelcontextprotocol/client` 2.x: 2025-11-25 by itself, 2026-07-28 when asked to look for it.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { MODERN, News, bearer, main, user } from "./checks.mjs";

await main(async (url, options) => (token) => connect(url, options.mode, token));

async function connect(url, mode, token) {
  const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers: bearer(token) } });
  const news = new News();
  const client = new Client(
    { name: "client-v2", version: "1" },
    {
      capabilities: { elicitation: {}, sampling: {} },
      versionNegotiation: { mode: ["legacy", "auto"].includes(mode) ? mode : { pin: mode } },
      // On 2026-07-28 this opens a stream of changes, as an agent would.
      listChanged: { tools: { onChanged: () => news.toldOfTools() } },
    },
  );
  client.setRequestHandler("sampling/createMessage", user.sample);
  client.setRequestHandler("elicitation/create", user.elicit);
  client.setNotificationHandler("notifications/message", (message) => news.toldOfLog(message));
  client.setNotificationHandler("notifications/resources/updated", (message) => news.toldOfResource(message));
  const connection = { errors: [], direct: true };
  client.onerror = (error) => connection.errors.push(error);
  await client.connect(transport);

  const version = client.getNegotiatedProtocolVersion();
  const modern = version >= MODERN;
  // Since 2026-07-28 each request says for itself which log messages it wants.
  const meta = modern ? { _meta: { "io.modelcontextprotocol/logLevel": "warning" } } : {};
  return Object.assign(connection, {
    version,
    serverName: client.getServerVersion().name,
    tools: async () => (await client.listTools()).tools,
    call: (name, args, onprogress) => client.callTool({ name, arguments: args, ...meta }, { onprogress }),
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
    logFromWarning: async () => {
      if (!modern) await client.setLoggingLevel("warning");
    },
    watch: async (uri) => {
      if (modern) {
        const subscription = await client.listen({ resourceSubscriptions: [uri] });
        return () => subscription.close();
      }
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    news,
    elicits: true,
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  });
}
