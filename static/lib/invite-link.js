// An invite link to be handed on: to copy, to share, to scan.

import { el } from './dom.js';

/** Puts the link into the element. `say` is called with what happened to it. */
export function showInviteLink(into, url, { title, say }) {
  const field = el('input', { id: `${into.id}-field`, readOnly: true, value: url, spellcheck: false });
  field.addEventListener('focus', () => field.select());

  const copy = el('button', { type: 'button' }, 'Copy link');
  copy.addEventListener('click', async () => {
    say((await copied(field)) ? 'The link is copied.' : 'The link is selected: copy it by hand.');
  });

  const share = navigator.share && el('button', { type: 'button', className: 'plain' }, 'Share…');
  share?.addEventListener('click', () => navigator.share({ title: title() || 'Reading session', url }).catch(() => {}));

  const code = el('div', { className: 'code', hidden: true });
  const show = el('button', { type: 'button', className: 'plain' }, 'QR code');
  show.setAttribute('aria-expanded', 'false');
  show.addEventListener('click', async () => {
    if (code.hidden && !code.firstChild) {
      const made = await picture(url).catch(() => null);
      if (!made) return say('The code could not be loaded. Try again in a moment.');
      code.append(made);
    }
    code.hidden = !code.hidden;
    show.setAttribute('aria-expanded', String(!code.hidden));
  });

  into.replaceChildren(
    el('label', { htmlFor: field.id }, 'Invite link'),
    field,
    el('div', { className: 'row' }, copy, share, show),
    code,
  );
}

async function copied(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.focus(); // there is no clipboard on a page without https
    return document.execCommand('copy');
  }
}

/** Dark on light in both themes: many readers know no other way. */
async function picture(url) {
  const [{ generate }, { toSvg }] = await Promise.all([
    import('../vendor/lean-qr/index.mjs'),
    import('../vendor/lean-qr/extras/svg.mjs'),
  ]);
  const svg = toSvg(generate(url), document, { on: '#1d1c1a', off: '#ffffff', pad: 3 });
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', 'QR code of the invite link');
  return svg;
}
