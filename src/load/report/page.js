// The charts of a run, from the figures in the page. uPlot stands above, in the same module: this is in a block, so
// that names may be alike.

const { timeline } = JSON.parse(document.getElementById('figures').textContent);
const HEIGHT = 180;
const COLORS = ['--one', '--two', '--three'];
const DASHES = [[], [6, 3], [2, 3]]; // told apart without their colours

const CHARTS = [
  { title: 'Connections', series: { open: ({ open }) => open } },
  { title: 'Coming in, a second', series: { joins: ({ joins }) => joins, returns: ({ returns }) => returns, failures: ({ failures }) => failures } },
  { title: 'Coming in, ms from when it was due', series: { p50: ({ join }) => join?.p50_ms, p99: ({ join }) => join?.p99_ms, max: ({ join }) => join?.max_ms } },
  { title: 'Beats answered, a second', series: { beats: ({ beats }) => beats } },
  { title: 'Beats, ms from when they were due', series: { p50: ({ beat }) => beat?.p50_ms, p99: ({ beat }) => beat?.p99_ms, max: ({ beat }) => beat?.max_ms } },
  { title: 'Frames that came, a second', series: { frames: ({ frames }) => frames } },
];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const el = (tag, text = '') => Object.assign(document.createElement(tag), { textContent: text });

function draw() {
  document.getElementById('charts').replaceChildren(...CHARTS.map(({ title, series }) => {
    const figure = el('figure');
    const keys = el('ul');
    Object.keys(series).forEach((name, n) => {
      const key = el('li', name);
      key.style.setProperty('--color', `var(${COLORS[n]})`);
      keys.append(key);
    });
    const plot = el('div');
    figure.append(el('figcaption', title), keys, plot);
    queueMicrotask(() => chart(plot, series));
    return figure;
  }));
}

function chart(plot, series) {
  const axis = { stroke: color('--quiet'), grid: { stroke: color('--grid'), width: 1 }, ticks: { show: false }, font: '12px system-ui' };
  const columns = Object.values(series).map((of) => timeline.map((second) => of(second) ?? null));
  const drawn = new uPlot({
    width: plot.clientWidth || 320,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} s`) }, { ...axis, size: 60 }],
    series: [{}, ...columns.map((_, n) => ({ stroke: color(COLORS[n]), width: 2, dash: DASHES[n], spanGaps: true, points: { show: timeline.length < 2 } }))],
  }, [timeline.map(({ second }) => second), ...columns], plot);
  new ResizeObserver(() => { if (plot.clientWidth && plot.clientWidth !== drawn.width) drawn.setSize({ width: plot.clientWidth, height: HEIGHT }); }).observe(plot);
}

draw();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
