// Keeps the height of the header in --header, for what sticks below it and for where scrolling ends.

new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty('--header', `${target.offsetHeight}px`);
}).observe(document.querySelector('header'));
