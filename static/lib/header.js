// How high the header is, which grows with what it has to say: what sticks below it, and what is scrolled to, is told.

new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty('--header', `${target.offsetHeight}px`);
}).observe(document.querySelector('header'));
