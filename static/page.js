// What the pages share.

export const $ = (id) => document.getElementById(id);

/** Shows exactly one of these elements. */
export const showOnly = (shown, among) => {
  for (const id of among) $(id).hidden = id !== shown;
};

/** Asks the server for JSON. Throws an error with `status`, `code` and a `message` fit to be shown. */
export async function ask(path, { token, body, ...options } = {}) {
  const headers = { accept: 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) {
    headers['content-type'] = 'application/json';
    options = { method: 'POST', body: JSON.stringify(body), ...options };
  }
  const answer = await fetch(path, { headers, ...options }).catch(() => {
    throw Object.assign(new Error('The server cannot be reached just now.'), { status: 0 });
  });
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const message = content.errors?.[0]?.message ?? content.detail ?? content.title ?? 'Something went wrong.';
  throw Object.assign(new Error(message), { status: answer.status, code: content.code });
}

/** A value that this browser (or only this tab) remembers; null where nothing may be kept. */
const kept = (storage) => ({
  get(key) {
    try {
      return storage().getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value) storage().setItem(key, value);
      else storage().removeItem(key);
    } catch {
      // Nothing may be kept: it is asked again the next time.
    }
  },
});
export const inBrowser = kept(() => localStorage);
export const inTab = kept(() => sessionStorage);

export const NAME = 'lastseen:name';
export const TOKEN = 'lastseen:token';
