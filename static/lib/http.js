// Calls to the server's HTTP interface.

const PATIENCE_MS = 30_000; // whoever waits for longer has gone

/** The address of a path of the server, which may be below a path of a host that others share. This is `static/lib/http.js`. */
export const address = (path) => new URL(`../..${path}`, import.meta.url);

/** Asks for JSON. Throws an error with `status`, `code` and a `message` fit to be shown. */
export async function ask(path, { token, body, method = body ? 'POST' : 'GET' } = {}) {
  const headers = { accept: 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const { answer, content } = await answered(path, { method, headers, body: body && JSON.stringify(body) });
  if (answer.ok) return content;
  const message = content.errors?.[0]?.message ?? content.detail ?? content.title ?? 'Something went wrong.';
  throw Object.assign(new Error(message), { status: answer.status, code: content.code });
}

async function answered(path, options) {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(address(path), { ...options, signal: over.signal });
    const content = await answer.json().catch((error) => {
      if (over.signal.aborted) throw error;
      return {};
    });
    return { answer, content };
  } catch {
    throw Object.assign(new Error('The server cannot be reached just now.'), { status: 0 });
  } finally {
    clearTimeout(timer);
  }
}
