// Calls to the server's HTTP interface.

/** Asks for JSON. Throws an error with `status`, `code` and a `message` fit to be shown. */
export async function ask(path, { token, body, method = body ? 'POST' : 'GET' } = {}) {
  const headers = { accept: 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) }).catch(() => {
    throw Object.assign(new Error('The server cannot be reached just now.'), { status: 0 });
  });
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const message = content.errors?.[0]?.message ?? content.detail ?? content.title ?? 'Something went wrong.';
  throw Object.assign(new Error(message), { status: answer.status, code: content.code });
}
