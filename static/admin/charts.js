// The charts of the last hour. Drawn by uPlot; what they say is in words above each, too.

import { el, setText } from '../lib/dom.js';
import { short } from './numbers.js';

const CHARTS = [
  { title: 'Connections and rooms', series: { connections: 'connections', rooms: 'rooms' } },
  { title: 'People', series: { active: 'active', idle: 'idle', reconnecting: 'reconnecting' } },
  { title: 'Coming and going, a second', series: { joins: 'joins', leaves: 'leaves' } },
  { title: 'Beats, a second', series: { beats: 'beats' } },
  { title: 'Flush: rows a second, and waiting', series: { rows: 'rows', backlog: 'waiting' } },
  { title: 'Flush lag, in seconds', series: { lag: 'since all was written' } },
  { title: 'Refusals, a second', series: { refusals: 'refusals' } },
  { title: 'Memory, in MiB', series: { memory: 'resident' } },
];
const COLORS = ['--one', '--two', '--three'];
const DASHES = [[], [6, 3], [2, 3]]; // told apart without their colours
const HEIGHT = 150;

/**
 * Loaded beside the page, which must not wait for it, or fail with it: uPlot throws while it is loaded where the browser's
 * language is no language tag. Asked for once, since WebKit answers the second `import()` of a module that threw with half
 * of it.
 */
const plotter = import('../vendor/uplot/uPlot.esm.js').then(({ default: uPlot }) => uPlot);
plotter.catch(() => {}); // said where charts are wanted

const dark = matchMedia('(prefers-color-scheme: dark)');

/** Fills the element with charts of this history. `draw` shows what is new in it, until `end`. */
export function charts(into, history) {
  const all = CHARTS.map((about) => chart(about, history));
  into.replaceChildren(...all.map(({ figure }) => figure));
  const over = new AbortController();
  let drawn = false;

  /** What the library throws costs its pictures, and nothing else. */
  function tried(act) {
    try {
      act();
    } catch (error) {
      without(error);
    }
  }

  function without(error) {
    if (over.signal.aborted) return;
    end();
    console.warn('No charts:', error);
    for (const { plot } of all) plot.remove();
    into.append(el('p', { className: 'hint' }, 'The charts cannot be drawn in this browser. Their newest figures are here all the same.'));
  }

  function begin(uPlot) {
    if (over.signal.aborted) return;
    const paint = () => tried(() => { for (const each of all) each.make(uPlot); });
    drawn = true;
    paint();
    if (!drawn) return;
    const watch = new ResizeObserver((seen) => tried(() => {
      for (const { target } of seen) all.find(({ plot }) => plot === target)?.fit();
    }));
    for (const { plot } of all) watch.observe(plot);
    over.signal.addEventListener('abort', () => watch.disconnect());
    dark.addEventListener('change', paint, { signal: over.signal });
  }

  function end() {
    over.abort();
    drawn = false;
    for (const each of all) each.end();
  }

  plotter.then(begin, without);
  return {
    draw(row) {
      for (const each of all) each.say(row);
      if (drawn && document.visibilityState === 'visible') tried(() => { for (const each of all) each.draw(); });
    },
    end,
  };
}

function chart({ title, series }, history) {
  const names = Object.keys(series);
  const values = names.map(() => el('b', {}, '–'));
  const keys = el('ul', { role: 'list', className: 'keys' }, ...names.map((name, n) => el('li', { className: `series-${n}` }, stroke(n), values[n], series[name])));
  const plot = el('div', { className: 'plot', aria: { hidden: 'true' } });
  const figure = el('figure', { className: 'chart' }, el('figcaption', {}, title), keys, plot);
  let drawn;

  function make(uPlot) {
    drawn?.destroy();
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: color('--quiet'), grid: { stroke: color('--grid'), width: 1 }, ticks: { show: false }, font: '12px system-ui' };
    drawn = new uPlot({
      width: plot.clientWidth || 320,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] } },
      axes: [
        { ...axis, size: 28, space: 70, values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', ...(times[1] - times[0] < 60 && { second: '2-digit' }) })) },
        { ...axis, size: 46, space: 28, values: (_, ticks) => ticks.map(short) },
      ],
      series: [{}, ...names.map((name, n) => ({ stroke: color(COLORS[n]), width: 2, dash: DASHES[n], points: { show: false } }))],
    }, history.columns(names), plot);
  }

  return {
    figure,
    plot,
    make,
    end() {
      drawn?.destroy();
      drawn = undefined;
    },
    fit() { if (plot.clientWidth && plot.clientWidth !== drawn.width) drawn.setSize({ width: plot.clientWidth, height: HEIGHT }); },
    say(row) { names.forEach((name, n) => setText(values[n], short(row[name]))); },
    draw: () => drawn.setData(history.columns(names)),
  };
}

function stroke(n) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 20 8');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  line.setAttribute('d', 'M0 4h20');
  if (DASHES[n].length) line.setAttribute('stroke-dasharray', DASHES[n].join(' '));
  svg.append(line);
  return svg;
}
