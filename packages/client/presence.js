// Who is in a room, and what each frame of the server makes of it: no socket, no clock, no DOM.

export const presence = () => ({ seq: 0, occupancy: 0, you: null, participants: new Map(), begun: null });

const LISTS = ['participants', 'joins', 'updates', 'leaves'];

// A long message comes in several frames: null until the last one is in. What does not follow is dropped with the rest,
// as if the message had not come: the next diff shows the gap.
function whole(view, frame) {
  const { begun } = view;
  const { type, seq, chunk, chunks } = frame;
  let message = frame;
  if (type === 'more') {
    message = begun?.seq === seq && begun.chunk === chunk - 1 ? { ...begun, chunk } : null;
    for (const list of LISTS) if (message?.[list]) message[list] = message[list].concat(frame[list]);
  }
  const ends = !(chunk < chunks);
  view.begun = ends ? null : message;
  return ends ? message : null;
}

// Changes the view in place; returns what changed, or null where the frame tells nothing new.
export function fold(view, received) {
  if (!/^(welcome|state|diff|occupancy|more)$/.test(received.type)) return null;
  if (received.type === 'welcome') {
    view.you = received.you;
    view.seq = -1; // nothing continues what was known before
  }
  const frame = whole(view, received);
  if (!frame) return null;
  const { type, seq } = frame;
  const snapshot = type === 'welcome' || type === 'state';
  if (!snapshot && seq <= view.seq) return null;

  const { participants } = view;
  const change = { cause: type, joins: [], updates: [], leaves: [], gap: !snapshot && seq > view.seq + 1 };

  const put = (participant) => {
    const known = participants.get(participant.id);
    if (JSON.stringify(known) === JSON.stringify(participant)) return;
    participants.set(participant.id, participant);
    (known ? change.updates : change.joins).push(participant);
  };
  const drop = (id, reason) => {
    const participant = participants.get(id);
    if (participants.delete(id)) change.leaves.push({ participant, reason });
  };
  const keepOnly = (ids) => {
    for (const id of participants.keys()) if (!ids.includes(id)) drop(id, null);
  };

  if (snapshot) {
    keepOnly(frame.participants.map(({ id }) => id));
    frame.participants.forEach(put);
  } else if (type === 'diff') {
    frame.joins.forEach(put);
    frame.updates.forEach(put);
    for (const { id, reason } of frame.leaves) drop(id, reason);
  } else {
    keepOnly([view.you]); // too many to list: a count comes instead
  }

  view.occupancy = frame.occupancy;
  if (!change.gap) view.seq = seq; // a gap stays one until a snapshot comes
  return change;
}
