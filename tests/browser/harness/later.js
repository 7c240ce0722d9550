// What a test has started is ended in the reverse order: pages before the server that they are of.

const stacks = new WeakMap(); // by test

/** Has this done when the test is over. */
export function later(t, act) {
  if (!stacks.has(t)) {
    stacks.set(t, []);
    t.after(() => unwind(stacks.get(t)));
  }
  stacks.get(t).push(act);
}

async function unwind(stack) {
  const errors = [];
  while (stack.length > 0) await Promise.resolve().then(stack.pop()).catch((error) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}
