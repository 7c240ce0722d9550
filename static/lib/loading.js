// Stands in for the page until its module has run: a form that is sent too early is sent then, and what keeps the module
// from coming is said, with a way to try again. No module itself: those run after what they would have to see.

(() => {
  const PATIENCE_MS = 10_000;
  const over = new AbortController();
  const listen = (type, act, capture = false) => addEventListener(type, act, { capture, signal: over.signal });
  let early = null; // the form that was sent
  let notice = null;

  function make(tag, properties) {
    return Object.assign(document.createElement(tag), properties);
  }

  function say(text) {
    const main = document.querySelector('main');
    if (!main) return listen('DOMContentLoaded', () => say(text));
    notice ??= make('div', { className: 'card not-loaded' });
    notice.setAttribute('role', 'alert');
    const again = make('button', { type: 'button', textContent: 'Load it again', onclick: () => location.reload() });
    notice.replaceChildren(make('p', { textContent: text }), again);
    main.prepend(notice);
  }

  const slow = setTimeout(() => say('This page takes long to load.'), PATIENCE_MS);

  // Of a script or a stylesheet that did not come, or thrown by a script before the page works.
  listen('error', ({ target }) => {
    if (target instanceof HTMLImageElement) return;
    clearTimeout(slow);
    say('This page did not load completely. It may be your connection.');
    listen('online', () => location.reload());
  }, true);

  // What stands in the fields would become part of an address.
  listen('submit', (event) => {
    event.preventDefault();
    early = event.target;
    early.setAttribute('aria-busy', 'true');
  }, true);

  // The event of `ready` in dom.js.
  listen('ready', () => {
    over.abort();
    clearTimeout(slow);
    notice?.remove();
    if (!early) return;
    early.removeAttribute('aria-busy');
    early.requestSubmit();
  });
})();
