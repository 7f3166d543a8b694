// `@modelcontextprotocol/client` 2.x: 2025-11-25 by itself, 2026-07-28 when asked to look for it.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { bearer, main } from "./checks.mjs";

await main(async (url, options) => (token) => connect(url, options.mode, token));

async function connect(url, mode, token) {
  const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers: bearer(token) } });
  const client = new Client(
    { name: "client-v2", version: "1" },
    {
      versionNegotiation: { mode: ["legacy", "auto"].includes(mode) ? mode : { pin: mode } },
      // Where the server tells of changes, this opens its stream of them, as an agent would.
      listChanged: { tools: { onChanged: () => {} } },
    },
  );
  const connection = { errors: [] };
  client.onerror = (error) => connection.errors.push(error);
  await client.connect(transport);

  return Object.assign(connection, {
    version: client.getNegotiatedProtocolVersion(),
    serverName: client.getServerVersion().name,
    tools: async () => (await client.listTools()).tools,
    call: (name, args, onprogress) => client.callTool({ name, arguments: args }, { onprogress }),
    ping: () => client.ping(),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  });
}
