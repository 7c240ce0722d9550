// Who is in a room, and what each frame of the server makes of it: no socket, no clock, no DOM.

export const presence = () => ({ seq: 0, occupancy: 0, you: null, participants: new Map() });

// Changes the view in place; returns what changed, or null where the frame tells nothing new.
export function fold(view, frame) {
  const { type, seq } = frame;
  const snapshot = type === 'welcome' || type === 'state';
  if (!snapshot && ((type !== 'diff' && type !== 'occupancy') || seq <= view.seq)) return null;

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

  if (type === 'welcome') view.you = frame.you;
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
