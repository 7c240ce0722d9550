// What a browser, or only a tab, remembers. Where nothing may be kept, it is asked again the next time.

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
      // See above.
    }
  },
});

export const inBrowser = kept(() => localStorage);
export const inTab = kept(() => sessionStorage);

export const NAME = 'lastseen:name';
export const TOKEN = 'lastseen:token';

/** The link that a host hands on, `{ id, url }`: the link in its own address bar may be one for hosts. */
export const shared = {
  key: (session) => `lastseen:share:${session}`,
  get: (session) => JSON.parse(inTab.get(shared.key(session))),
  set: (session, link) => inTab.set(shared.key(session), link && JSON.stringify({ id: link.id, url: link.url })),
};
