// The door: what the invite opens, and by what name one comes in.

import { $, setText } from '../lib/dom.js';
import { ask } from '../lib/http.js';
import { inBrowser, NAME } from '../lib/kept.js';
import { nameProblem } from './name.js';

/** What the invite opens, as the server sees it now. */
export const lookUp = (invite) => ask(`/v1/invites/${encodeURIComponent(invite)}`);

/** The host's own way in comes first to the door: nobody can be there yet. */
export function aboutRoom({ occupancy }) {
  if (occupancy === 0) return 'Nobody is here yet. You would be the first.';
  return occupancy === 1 ? 'One person is here.' : `${occupancy} people are here.`;
}

export function nameForm(enter) {
  const check = () => $('name').setCustomValidity(nameProblem($('name').value.trim()));

  $('name').addEventListener('input', check);
  $('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = $('name').value.trim();
    inBrowser.set(NAME, name);
    enter(name);
  });

  return (problem = '') => {
    setText($('name-problem'), problem);
    $('name').value = inBrowser.get(NAME) ?? '';
    check();
    $('name').focus();
  };
}
