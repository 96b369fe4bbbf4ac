// Takes the statements of Lakebed's catalog for a Cloudflare D1 database, in place of Cloudflare's
// REST interface and its limit of about four calls a second. Its answers have the same form.
//
// It needs two bindings: the database as DB, and as TOKEN a secret that clients send. Who has it may
// run any statement in this database, so keep nothing else there.
export default {
  async fetch(request, env) {
    if (!(await same(request.headers.get("Authorization"), `Bearer ${env.TOKEN}`)))
      return failure(401, 10000, "Authentication error");
    try {
      const { sql, params } = await request.json();
      const { results } = await env.DB.prepare(sql).bind(...(params ?? [])).all();
      return Response.json({ success: true, errors: [], result: [{ results }] });
    } catch (error) {
      return failure(400, 7500, String(error?.message ?? error));
    }
  },
};

function failure(status, code, message) {
  const body = { success: false, errors: [{ code, message }], result: null };
  return Response.json(body, { status });
}

// Takes as long whatever was sent.
async function same(given, expected) {
  const digest = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text ?? ""));
  return crypto.subtle.timingSafeEqual(await digest(given), await digest(expected));
}
