// The Worker that users deploy before their D1 database, in miniflare:
// node d1_worker.mjs <node_modules> <port> <token> <script>
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, port, token, script] = process.argv.slice(2);
const { Miniflare } = createRequire(`${modules}/x.js`)("miniflare");
const flare = new Miniflare({
  host: "127.0.0.1",
  port: Number(port),
  modules: true,
  script: readFileSync(script, "utf8"),
  d1Databases: { DB: "db" },
  bindings: { TOKEN: token },
});
await flare.ready;
