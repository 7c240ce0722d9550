// Tabs by WebDriver BiDi, which Firefox speaks by itself.

import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';

import WebSocket from 'ws';

import { PATIENCE_MS, until } from '../browser.js';
import { startProgram } from './program.js';

export async function launchBidi({ command, env, args }) {
  const program = await startProgram(command, (home) => ['--remote-debugging-port=0', `--profile=${home}`, '--new-instance', ...args], env);
  try {
    const [, url] = await program.said(/WebDriver BiDi listening on (ws:\S+)/);
    return await open(`${url}/session`);
  } catch (error) {
    await program.end();
    throw error;
  }

  async function open(url) {
    const { call, disconnect } = await connect(url);

    const { capabilities: { browserName, browserVersion } } = await call('session.new', { capabilities: {} });
    return {
      program,
      version: `${browserName} ${browserVersion}`,
      openTab: () => openTab(call),
      disconnect,
    };
  }
}

/** `call` sends a command and waits for its answer, longer than the 30 s of selenium-webdriver. */
async function connect(url) {
  const socket = new WebSocket(url);
  await once(socket, 'open');
  const waiting = new Map();
  let last = 0;
  socket.on('message', (text) => {
    const { id, ...answer } = JSON.parse(text);
    waiting.get(id)?.(answer);
  });
  const ended = new Promise((done) => {
    socket.on('error', () => {}); // a close follows
    socket.on('close', () => done({ error: 'Firefox has ended' }));
  });

  async function call(method, params = {}) {
    const id = ++last;
    const answered = new Promise((done) => waiting.set(id, done));
    const over = new AbortController();
    const late = setTimeout(PATIENCE_MS, { error: 'no answer' }, { signal: over.signal, ref: false });
    late.catch(() => {}); // it was not
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ id, method, params }));
    const { result, error, message = '' } = await Promise.race([answered, ended, late]);
    over.abort();
    waiting.delete(id);
    if (error) throw new Error(`${method}: ${error}: ${message}`);
    return result;
  }
  return { call, disconnect: () => socket.terminate() };
}

async function openTab(call) {
  const create = async () => (await call('browsingContext.create', { type: 'tab' })).context;
  const context = await create();

  async function evaluate(expression) {
    const { result, exceptionDetails } = await call('script.evaluate', { target: { context }, expression, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result;
  }
  const act = (type, actions) => call('input.performActions', { context, actions: [{ type, id: type, actions }] });
  const find = (selector) => `document.querySelector(${JSON.stringify(selector)})`;

  return {
    goto: (url) => call('browsingContext.navigate', { context, url, wait: 'complete' }),
    back: () => evaluate('void setTimeout(() => history.back())'),
    reload: () => call('browsingContext.reload', { context, wait: 'complete' }),
    close: () => call('browsingContext.close', { context }),
    async run(text) {
      const { value } = await evaluate(`(async () => JSON.stringify(await ${text}))()`);
      return value === undefined ? undefined : JSON.parse(value);
    },
    async press(selector) {
      await until(`${selector} is to be seen`, async () => (await evaluate(`${find(selector)}?.checkVisibility() ?? false`)).value);
      await evaluate(`${find(selector)}.scrollIntoView({ block: 'center' })`);
      const { sharedId } = await evaluate(find(selector));
      await act('pointer', [
        { type: 'pointerMove', x: 0, y: 0, origin: { type: 'element', element: { sharedId } } },
        { type: 'pointerDown', button: 0 },
        { type: 'pointerUp', button: 0 },
      ]);
    },
    async type(selector, text) {
      await evaluate(`${find(selector)}.focus()`);
      await act('key', [...text].flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]));
    },
    hide: create, // another tab, which is before it
    show: () => call('browsingContext.activate', { context }),
  };
}
