// Small helpers for the page. Text only ever goes in as text.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. `data` and `aria` are attributes of those kinds. */
export function el(tag, { data = {}, aria = {}, role, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (role) element.setAttribute('role', role); // the property is younger than some browsers
  for (const [key, value] of Object.entries(data)) element.dataset[key] = value;
  for (const [key, value] of Object.entries(aria)) element.setAttribute(`aria-${key}`, value);
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** The page works from here on: `loading.js` need not stand in for it any more. */
export const ready = () => dispatchEvent(new Event('ready'));

/** Touches the element only where the text is another: nothing is laid out or read aloud again for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Says a text in a live region. It is a new node each time: a screen reader reads it also where the text is the same as
 * the last one. The text before it is gone at once, so it is for answers to what the person just did.
 */
export function sayIn(region, text) {
  region.replaceChildren(...(text ? [el('span', {}, text)] : []));
}

/** Shows exactly one of these elements, or none. */
export const showOnly = (shown, among) => {
  for (const id of among) $(id).hidden = id !== shown;
};

/** A name in the middle of a sentence: marks that turn the direction of writing would turn the rest, too. */
export const inSentence = (name) => `\u2068${name.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '')}\u2069`;

export const timeOfDay = (time) => {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], { hour: '2-digit', minute: '2-digit', ...(!today && { day: 'numeric', month: 'short' }) });
};

/**
 * A button for what cannot be undone: the first press asks, and the second one, within a few seconds, does it.
 * Whoever waits, or goes elsewhere, has changed nothing.
 */
export function askTwice(button, question, act) {
  const words = button.textContent;
  let timer;
  const calm = () => {
    clearTimeout(timer);
    timer = undefined;
    button.classList.remove('sure');
    setText(button, words);
  };
  button.onclick = () => {
    if (timer) {
      calm();
      act();
      return;
    }
    button.classList.add('sure');
    setText(button, question);
    timer = setTimeout(calm, 5000);
  };
  button.onblur = calm;
}
