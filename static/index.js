// The first page: opens a session, and shows the link to send.

import { $, ready, sayIn, setText } from './lib/dom.js';
import { ask } from './lib/http.js';
import { showInviteLink } from './lib/invite-link.js';
import { inTab, shared, TOKEN } from './lib/kept.js';

$('open').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = $('open').querySelector('button');
  const title = $('title').value.trim();
  const token = $('token').value.trim();
  setText($('problem'), '');
  button.disabled = true;
  try {
    const session = await ask('/v1/reading-sessions', { token, body: title ? { title } : {} });
    inTab.set(TOKEN, token);
    opened(session);
  } catch (error) {
    refused(error);
  } finally {
    button.disabled = false;
  }
});

/** A server that opens sessions for its users only says so by asking who one is. */
function refused({ status, message }) {
  const firstAsked = status === 401 && $('token-field').hidden;
  if (status === 401) {
    $('token-field').hidden = false;
    $('token').focus();
  }
  if (!firstAsked) setText($('problem'), message);
}

function opened(session) {
  const { url } = session.invite;
  // The host comes in by this page's own address, so that what the tab remembers is there.
  const asHost = new URL((session.host_invite ?? session.invite).url);
  $('enter').href = asHost.pathname;
  shared.set(session.id, session.invite);
  if (session.title) setText($('opened-title'), `\u201c\u2068${session.title}\u2069\u201d is open`);
  showInviteLink($('invite-link'), url, { title: () => session.title, say: (text) => sayIn($('invite-said'), text) });
  $('begin').hidden = true;
  $('opened').hidden = false;
  $('opened-title').focus();
}

ready();
