// Opens a session and shows its invite link.

import { $, ask, inTab, TOKEN } from './page.js';

const complain = (text) => {
  $('problem').textContent = text;
};

$('open').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.submitter ?? $('open').querySelector('button');
  const title = $('title').value.trim();
  const token = $('token').value.trim();
  complain('');
  button.disabled = true;
  try {
    const session = await ask('/v1/reading-sessions', { token, body: title ? { title } : {} });
    inTab.set(TOKEN, token);
    opened(session);
  } catch (error) {
    if (error.status === 401 && $('token-field').hidden) {
      $('token-field').hidden = false;
      $('token').focus();
    } else {
      complain(error.message);
    }
  } finally {
    button.disabled = false;
  }
});

function opened(session) {
  // The host comes in by this page's own address, so that what the tab remembers is there.
  const asHost = new URL((session.host_invite ?? session.invite).url);
  $('enter').href = asHost.pathname;
  $('link').value = session.invite.url;
  if (session.title) $('opened-title').textContent = `“${session.title}” is open`;
  $('open').hidden = true;
  $('opened').hidden = false;
  $('opened-title').focus();
}

$('link').addEventListener('focus', () => $('link').select());

$('copy').addEventListener('click', async () => {
  let copied = true;
  try {
    await navigator.clipboard.writeText($('link').value);
  } catch {
    $('link').select(); // no clipboard on a page without https
    copied = document.execCommand('copy');
  }
  $('copied').textContent = copied ? 'Copied.' : 'The link is selected: copy it by hand.';
});
