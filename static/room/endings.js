// How a visit ends, or why it does not begin: what to say, and what to do next.

const CLOSED = {
  host: ['The session was closed', 'Its host has ended it. Thank you for being there.'],
  idle: ['The session is over', 'Nobody was seen in it for a while, so it was closed.'],
  admin: ['The session was closed', 'It was ended by whoever runs this server.'],
  expired: ['The session is over', 'Its time had come.'],
};

/** Each with a picture, a title, a message, and whether trying once more may help. */
export function ending({ error, message, reason, status }) {
  switch (error) {
    case 'invite_not_found':
    case 'session_not_found':
      return { icon: 'unknown', title: 'This link leads nowhere', text: 'Perhaps a part of it was lost on the way. Open it once more from where it was sent to you, or ask for it again.' };
    case 'invite_expired':
      return { icon: 'dead', title: 'This link is no longer good', text: `${message} Ask whoever sent it for a new one.` };
    case 'session_full':
      return { icon: 'full', title: 'The room is full', text: 'Everybody it holds is here already. When somebody leaves, there is a place.', again: 'Try again' };
    case 'session_closed': {
      const [title, text] = CLOSED[reason] ?? ['The session is closed', message];
      return { icon: 'closed', title, text };
    }
    case 'removed':
      return { icon: 'removed', title: 'You were removed', text: 'A host has taken you out of this session. If you think that was a mistake, talk to them.' };
    case 'token_expired':
    case 'unauthenticated':
      return { icon: 'removed', title: 'You are not signed in any more', text: 'Come in again, by name or with a fresh token.', again: 'Come in again' };
    case 'forbidden':
      return { icon: 'removed', title: 'This session is not open to you', text: `${message} Ask its host for an invite link.`, again: 'Try again' };
    default:
  }
  if (reason === 'left') return { icon: 'left', title: 'You have left', text: 'The others see that you are gone.', again: 'Come back' };
  if (status === 0) return { icon: 'trouble', title: 'The server cannot be reached', text: 'It may be your connection, or the server is being restarted. Nothing is lost.', again: 'Try again' };
  return { icon: 'trouble', title: 'That did not work', text: message || 'The connection was closed.', again: 'Try again' };
}
