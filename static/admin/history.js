// What the figures were in the last hour, as columns for charts. Counters become what was counted in a second.

const HOUR_S = 3600;
const OVER_S = 10; // a rate is that of so long, and rows are so far apart: as what the server keeps
const NEARLY_S = 0.5; // timers are not exact
const SHORTEST_S = 0.5; // over less than this it says nothing
const LONGEST_S = 30; // what was missed for longer has no second of its own

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

/** What is counted since the server was started, and so tells something only by how it grows. */
const counted = (stats) => ({
  joins: stats.joins,
  leaves: sum(stats.leaves),
  beats: stats.beats,
  rows: stats.flush.rows,
  refusals: sum(stats.refusals),
});

/** What is as it is now. */
const measured = (stats) => ({
  connections: stats.connections,
  rooms: stats.rooms,
  active: stats.participants.active,
  idle: stats.participants.idle,
  reconnecting: stats.participants.reconnecting,
  lag: stats.flush.age_seconds,
  backlog: stats.flush.backlog,
  memory: stats.memory_bytes == null ? null : stats.memory_bytes / 2 ** 20,
});

export function history() {
  let rows = [];
  let seen = []; // what was counted lately, by one run of the server and without a gap
  let last;

  /** Notes a frame, and gives the row that it becomes. */
  function add(stats) {
    const time = Date.parse(stats.time) / 1000;
    if (last && time <= last.time) return rows.at(-1);
    const counts = counted(stats);
    // A server that was started anew counts from nothing.
    const known = last?.started === stats.started_at ? last : undefined;
    const row = { time, ...measured(stats), refused: last ? growth(stats.refusals, known?.reasons) : {} };
    if (!known || time - known.time > LONGEST_S) seen = [];
    while (seen.length > 1 && seen[1].time <= time - OVER_S) seen.shift();
    const passed = seen.length > 0 ? time - seen[0].time : 0;
    for (const [name, count] of Object.entries(counts)) {
      row[name] = passed >= SHORTEST_S ? (count - seen[0].counts[name]) / passed : null;
    }
    // The newest one moves on until the one before it is far enough.
    if (known && rows.length > 1 && time - rows.at(-2).time <= OVER_S + NEARLY_S) row.refused = total([rows.pop(), row]);
    seen.push({ time, counts });
    last = { time, started: stats.started_at, reasons: stats.refusals };
    rows.push(row);
    while (rows[0].time < time - HOUR_S) rows.shift();
    return row;
  }

  return {
    add,
    /** Takes what the server kept, which knows of the time when nobody listened. Gives the row of now. */
    begin(frames) {
      const from = Date.parse(frames[0].time) / 1000;
      rows = rows.filter(({ time }) => time < from);
      last = undefined; // and with it what was seen
      return frames.map(add).at(-1);
    },
    /** The time, and these figures, each as a column. */
    columns: (names) => [rows.map((row) => row.time), ...names.map((name) => rows.map((row) => row[name]))],
    /** How often each reason was given in this time. */
    refused: () => total(rows),
    get since() { return rows[0]?.time; },
  };
}

function total(rows) {
  const all = {};
  for (const { refused } of rows) {
    for (const [reason, count] of Object.entries(refused)) all[reason] = (all[reason] ?? 0) + count;
  }
  return all;
}

/** By how much each count is more than before. */
function growth(counts, before = {}) {
  const grown = {};
  for (const [name, count] of Object.entries(counts)) {
    const more = count - (before[name] ?? 0);
    if (more > 0) grown[name] = more;
  }
  return grown;
}
