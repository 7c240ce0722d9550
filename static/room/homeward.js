// The way on from a visit that is over: to the app that people come from, or to a session of one's own.

import { countDown } from '../lib/countdown.js';
import { $, sayIn, setText } from '../lib/dom.js';
import { server } from '../lib/server.js';

/** What a link leads to that is dead. */
const DEAD = ['invite_not_found', 'session_not_found', 'invite_expired', 'session_closed'];

export const isDead = (error) => DEAD.includes(error);

const seconds = (ms) => {
  const whole = Math.ceil(ms / 1000);
  return whole === 1 ? '1 second' : `${whole} seconds`;
};

/** The app's address, with why one comes. */
function homeFor(error) {
  const home = new URL(server.home_url);
  if (error) home.searchParams.set('reason', error);
  return home;
}

let stop = () => {};

/**
 * Offers the way on. `mayOpen` says whether this person may open a session here: for whom it would end at a form that
 * asks for a token there is none. With `byItself` it is gone by itself, where the server says so.
 */
export function showWayOn(error, { mayOpen, byItself }) {
  stay();
  const way = $('way-on');
  way.hidden = !server.home_url && !mayOpen;
  if (!server.home_url) return;
  const home = homeFor(error);
  way.href = home;
  setText(way, `Go to ${home.host}`);
  way.onclick = stay; // whoever comes back by the browser's button is not sent away again
  if (byItself && server.dead_link_redirect_ms) goBySelf(home);
}

function goBySelf(home) {
  const end = performance.now() + server.dead_link_redirect_ms;
  const left = () => end - performance.now();
  setText($('homeward-to'), home.host);
  sayIn($('homeward-said'), `You will be taken to ${home.host} in ${seconds(left())}. The button “Stay here” stops that.`);
  $('homeward').hidden = false;
  $('stay').onclick = () => {
    stay();
    sayIn($('homeward-said'), 'You stay here.');
    $('way-on').focus();
  };
  stop = countDown(left, (ms) => {
    setText($('homeward-left'), seconds(ms));
    // In the place of this page: the browser's button leads back to where the link was, and not into the link again.
    if (ms === 0) location.replace(home);
  });
}

/** Nothing goes on by itself. */
export function stay() {
  stop();
  $('homeward').hidden = true;
  sayIn($('homeward-said'), '');
}
