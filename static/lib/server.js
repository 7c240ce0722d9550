// What the page is told of its server, in its head.

/** `home_url`, `dead_link_redirect_ms`, `guest_hosts`, `dev`; nothing of it in a page that no server filled in. */
export const server = JSON.parse(document.querySelector('meta[name="lastseen"]').content);
