import type { Change, Participant } from './lastseen.js';

/** What is known of a room. Whoever holds `participants` holds the truth: it is changed in place. */
export interface Presence {
  /** The last frame that is included without a hole before it. */
  seq: number;
  /** How many are here, also where they are too many to be listed. */
  occupancy: number;
  /** The receiver's own id; null for an observer. */
  you: string | null;
  participants: Map<string, Participant>;
  /** A message of which not all frames have come. */
  begun: object | null;
}

/** A room that nothing is known about yet. */
export function presence(): Presence;

/**
 * Folds a frame of the server into the view.
 *
 * Returns what it changed, or null where it tells nothing new about who is here: another kind of frame, or one that a
 * snapshot has told already. Joins, updates and leaves always add up to the Map, whatever the cause was. `gap` says that
 * frames before this one are missing, and goes on saying so until a `welcome` or a `state` comes. A message that comes in
 * several frames (`more`) is folded with the last of them: null until then.
 */
export function fold(view: Presence, frame: { type: string }): (Change & { gap: boolean }) | null;
