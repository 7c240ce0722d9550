// Keeps what is being read where it is while a list above it changes. Most browsers do so by themselves (`overflow-anchor`);
// WebKit does not.

const byItself = CSS.supports('overflow-anchor', 'auto');

/** Carries out a change of the list. The first of its rows that is to be seen and is still there then is where it was. */
export function keepPlace(list, change) {
  if (byItself || scrollY === 0) return change();
  const top = document.querySelector('header').offsetHeight; // what is below it is covered
  const seen = [];
  for (const row of list.children) {
    const at = row.getBoundingClientRect().top;
    if (at >= innerHeight) break;
    if (at >= top && !row.inert && !row.hidden) seen.push([row, at]);
  }
  change();
  const [row, before] = seen.find(([row]) => row.isConnected && !row.inert && !row.hidden) ?? [];
  if (row) scrollBy({ top: row.getBoundingClientRect().top - before, behavior: 'instant' });
}
