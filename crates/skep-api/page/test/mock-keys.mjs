// The keys of the made-up node: codes, keys, and who is let in.

const PICTURE = Array.from({ length: 29 }, (_, y) =>
  Array.from({ length: 29 }, (_, x) => {
    // Three corners that a camera looks for, and squares between that look like a link.
    const corner = [[0, 0], [22, 0], [0, 22]].find(([left, top]) => x >= left && x < left + 7 && y >= top && y < top + 7);
    if (!corner) return (x * 7 + y * 13 + ((x * y) % 5)) % 3 === 0 ? "1" : "0";
    const ring = Math.max(Math.abs(x - corner[0] - 3), Math.abs(y - corner[1] - 3));
    return ring === 2 ? "0" : "1";
  }).join(""),
);

/** `open` says whether other machines reach it. Whoever calls it `localhost` is taken for one of these, whoever calls it 127.0.0.1 is not. */
export function mockKeys({ open = true } = {}) {
  const keys = [];
  const codes = new Map();
  const refuse = (status, code, message) => [status, { error: { message: `${message}\nhint: ask its owner`, type: "invalid_request_error", param: null, code } }];
  const view = ({ key: _, ...rest }) => rest;
  const self = {
    open,
    keys,
    codes,
    add(label, scope) {
      const made = {
        id: String(keys.length).padStart(10, "0"), key: `sk-skep-${label}`, label, scope, created: Math.round(Date.now() / 1000), expires: null,
        last_used: null, requests_per_minute: null, tokens_per_day: null, tokens_today: 0,
      };
      keys.push(made);
      return made;
    },
    /** Whether a request may pass: an answer that refuses it, or none. */
    refusal(request, path) {
      if (request.headers.host.startsWith("127.") || !/^\/(v1|skep)\//.test(path) || path === "/skep/v1/pair") return null;
      const shown = (request.headers.authorization ?? "").replace("Bearer ", "");
      const key = keys.find((known) => known.key === shown);
      if (!key) return refuse(401, "invalid_api_key", "another machine needs a key to use this one");
      key.last_used = Math.round(Date.now() / 1000);
      const owners = key.scope === "use" && /^\/skep\/v1\/(machine|settings|keys|invite)/.test(path);
      return owners ? refuse(403, "missing_scope", "this key is for the models only") : null;
    },
    answer(path, body, origin) {
      if (path === "/skep/v1/keys") return [200, { keys: keys.map(view), reached_at: self.open ? [origin, "http://hive.lan:7537"] : [] }];
      if (path === "/skep/v1/keys/revoke") {
        const at = keys.findIndex(({ id }) => id === body.id);
        return at < 0 ? refuse(404, "unknown_key", "there is no such key") : [200, { revoked: view(keys.splice(at, 1)[0]) }];
      }
      if (path === "/skep/v1/pair-code") {
        const code = `code${codes.size}`;
        codes.set(code, body);
        return [200, { seconds: 300, links: [origin, "http://hive.lan:7537"].map((at) => ({ link: `${at}/#pair=${code}`, picture: PICTURE })) }];
      }
      const terms = codes.get(body.code);
      if (!terms) return refuse(401, "invalid_code", "this code is not good any more");
      codes.delete(body.code);
      const made = self.add(terms.label, terms.scope);
      return [200, { key: made.key, made: view(made) }];
    },
  };
  return self;
}
