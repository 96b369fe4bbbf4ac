// Cloudflare's D1 by REST, over miniflare: node d1.mjs <node_modules> <port> <token> <folder>
//
// Takes POST /client/v4/accounts/{account}/d1/database/{database}/query as the real one does: a
// statement with parameters, or a batch, which is one transaction. The real one's limits hold. Any
// account will do; the databases are db0 to db199. POST /answer sets what the next requests get
// instead, as {"status": 429, "retry_after": "2", "count": 1}: no real server can be made to.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [modules, port, token, folder] = process.argv.slice(2);
const { Miniflare } = createRequire(`${modules}/x.js`)("miniflare");
const names = Array.from({ length: 200 }, (_, number) => `db${number}`);
const flare = new Miniflare({
  modules: true,
  script: `export default { async fetch(request, env) {
    const { database, statements } = await request.json();
    const prepared = statements.map(({ sql, params }) =>
      env[database].prepare(sql).bind(...(params ?? [])));
    try {
      return Response.json({ result: await env[database].batch(prepared) });
    } catch (error) {
      return Response.json({ message: String(error.message ?? error) });
    }
  } }`,
  d1Databases: Object.fromEntries(names.map((name) => [name, name])),
  d1Persist: folder,
});
await flare.ready;

const PATH = /^\/client\/v4\/accounts\/([^/]+)\/d1\/database\/([^/]+)\/(query|raw)$/;
let forced = { count: 0 };

async function answer(request, body) {
  if (request.url === "/answer") {
    forced = { count: 1, ...JSON.parse(body) };
    return [200, {}];
  }
  if (forced.count > 0) {
    forced.count -= 1;
    return [forced.status, failure(forced.code ?? 10000, forced.message ?? "told to"), forced];
  }
  const found = PATH.exec(request.url);
  if (!found || request.method !== "POST") return [404, failure(7003, "Could not route to it")];
  if (request.headers.authorization !== `Bearer ${token}`)
    return [401, failure(10000, "Authentication error")];
  if (!names.includes(found[2]))
    return [404, failure(7404, "The database could not be found")];
  const asked = JSON.parse(body);
  const statements = asked.batch ?? [asked];
  for (const { sql, params } of statements) {
    if (Buffer.byteLength(sql) > 100_000)
      return [400, failure(7500, "statement too long: SQLITE_TOOBIG")];
    if ((params ?? []).length > 100)
      return [400, failure(7500, "too many SQL variables: SQLITE_ERROR")];
  }
  const done = await flare.dispatchFetch("http://d1/", {
    method: "POST",
    body: JSON.stringify({ database: found[2], statements }),
  });
  const { result, message } = await done.json();
  if (message) return [400, failure(7500, message)];
  return [200, { success: true, errors: [], messages: [], result }];
}

function failure(code, message) {
  return { success: false, errors: [{ code, message }], messages: [], result: null };
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let status, body, extra;
  try {
    [status, body, extra] = await answer(request, Buffer.concat(chunks).toString());
  } catch (error) {
    [status, body] = [400, failure(7400, String(error))];
  }
  const headers = { "Content-Type": "application/json" };
  if (extra?.retry_after) headers["Retry-After"] = extra.retry_after;
  response.writeHead(status, headers).end(JSON.stringify(body));
}).listen(Number(port), "127.0.0.1");
