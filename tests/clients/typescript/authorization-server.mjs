// An authorization server (`oidc-provider`) with two clients that log in by themselves:
// `jwt` gets access tokens that are JWTs, `opaque` gets such as only the server can read.
//
// Usage: authorization-server.mjs --resource URL --secret SECRET. The first line that it prints is
// its issuer. It ends with its standard input.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";
import { parseArgs } from "node:util";
import Provider, { errors } from "oidc-provider";

const { values: options } = parseArgs({ options: { resource: { type: "string" }, secret: { type: "string" } } });

const SCOPES = ["notes:read", "notes:write"];

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const client = (client_id, grant_types) => ({
  client_id,
  client_secret: options.secret,
  grant_types,
  redirect_uris: [],
  response_types: [],
  // The one kind of key that it has.
  id_token_signed_response_alg: "ES256",
});

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const provider = new Provider(issuer, {
  clients: [
    client("jwt", ["client_credentials"]),
    client("opaque", ["client_credentials"]),
    // The MCP server, which asks what tokens are.
    client("mcp-serve", []),
  ],
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: "first", alg: "ES256", use: "sig" }] },
  scopes: SCOPES,
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === "mcp-serve" },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, resource, client) {
        if (resource !== options.resource) throw new errors.InvalidTarget();
        return {
          scope: SCOPES.join(" "),
          audience: resource,
          accessTokenTTL: 600,
          accessTokenFormat: client.clientId === "jwt" ? "jwt" : "opaque",
          jwt: { sign: { alg: "ES256" } },
        };
      },
    },
  },
});
provider.on("server_error", (_, error) => console.error(error));
server.on("request", provider.callback());

console.log(issuer);
process.stdin.resume().on("end", () => process.exit(0));
