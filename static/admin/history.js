// What the figures were in the last hour, as columns for charts. Counters become what was counted in a second.

const HOUR_S = 3600;

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
  const rows = [];
  let last;

  return {
    /** Notes a frame, and gives the row that it becomes. */
    add(stats) {
      const time = Date.parse(stats.time) / 1000;
      const counts = counted(stats);
      // A server that was started anew counts from nothing, and what was missed meanwhile has no second of its own.
      const passed = last && last.started === stats.started_at ? time - last.time : 0;
      const row = { time, ...measured(stats) };
      for (const [name, count] of Object.entries(counts)) {
        row[name] = passed > 0 && passed < 10 ? Math.max(0, (count - last.counts[name]) / passed) : null;
      }
      last = { time, started: stats.started_at, counts };
      rows.push(row);
      while (rows[0].time < time - HOUR_S) rows.shift();
      return row;
    },
    /** The time, and these figures, each as a column. */
    columns: (names) => [rows.map((row) => row.time), ...names.map((name) => rows.map((row) => row[name]))],
    get since() { return rows[0]?.time; },
  };
}
