// Chromium, Firefox and WebKit as Debian has them, each started as people start it: with a window, and with nothing switched
// off. Their tabs are driven in the same way.

import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { until } from '../browser.js';
import { launchBidi } from './bidi.js';
import { behindAnother, launchClassic, minimised } from './classic.js';
import { startDisplay } from './display.js';

const isRoot = process.getuid?.() === 0;

const isProgram = (file) => {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};
const program = (...names) => names.flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name))).find(isProgram);

/** Debian has WebKit's own little browser outside of every PATH. */
function miniBrowser() {
  const folders = ['/usr/lib', '/usr/libexec'].filter((folder) => existsSync(folder)).flatMap((folder) => [folder, ...readdirSync(folder).map((name) => join(folder, name))]);
  return folders.flatMap((folder) => ['4.1', '4.0'].map((api) => join(folder, `webkit2gtk-${api}`, 'MiniBrowser'))).find(isProgram);
}

const KINDS = {
  chromium: {
    needs: () => [process.env.CHROMIUM ?? program('chromium', 'chromium-browser', 'google-chrome'), program('chromedriver')],
    launch: ([binary, driver], { env, secret }) => launchClassic({
      driver,
      env,
      capabilities: (home) => ({
        browserName: 'chrome',
        'goog:chromeOptions': { binary, args: [`--user-data-dir=${home}/profile`, ...(isRoot ? ['--no-sandbox'] : []), ...(secret ? ['--incognito'] : [])] },
      }),
      hiding: behindAnother,
    }),
  },
  firefox: {
    needs: () => [program('firefox-esr', 'firefox')],
    launch: ([command], { env, secret }) => launchBidi({ command, env, args: secret ? ['--private-window'] : [] }),
  },
  webkit: {
    needs: () => [program('WebKitWebDriver'), miniBrowser()],
    // Whatever is automated is a private window there.
    launch: ([driver, binary], { env }) => launchClassic({
      driver,
      env,
      capabilities: () => ({ browserName: 'MiniBrowser', 'webkitgtk:browserOptions': { binary, args: ['--automation'] } }),
      hiding: minimised,
    }),
  },
};

/** All, or those that are named in LASTSEEN_BROWSERS, with commas between them. */
export const BROWSERS = process.env.LASTSEEN_BROWSERS?.split(',') ?? Object.keys(KINDS);

/** Why it cannot be started here: a reason to skip its tests, and false where it can. With CI set all have to be here. */
export function missing(name) {
  if (program('Xvfb') && KINDS[name].needs().every(Boolean)) return false;
  const why = `no ${name} with what drives it: script/setup --browser installs it`;
  if (process.env.CI) throw new Error(why);
  return why;
}

/**
 * Starts one of them. With `secret` it is a private window. `kill` ends it with all its processes, as a crash does, `end`
 * cleans up; `openTab` opens a tab before all others:
 *
 *   goto(url), reload(), close()
 *   back(path)                  the page before, which has this path
 *   run(fn, ...args)            has a function run in the page, and gives what it gives, or its promise
 *   until(what, fn, ...args)    waits until that is true
 *   press(selector)             presses what it finds with the mouse, as soon as it is to be seen
 *   type(selector, text)        types into it
 *   hide(), show()              nobody sees it, and somebody sees it again. A hidden one must not be asked: that may show it
 *   staysHidden                 it cannot be shown again
 */
export async function launch(name, { secret = false } = {}) {
  const display = await startDisplay();
  const env = { DISPLAY: display.name, WAYLAND_DISPLAY: '', GDK_BACKEND: 'x11', NO_AT_BRIDGE: '1', MOZ_CRASHREPORTER_DISABLE: '1' };
  let browser;
  try {
    browser = await KINDS[name].launch(KINDS[name].needs(), { env, secret });
  } catch (error) {
    await display.end();
    throw error;
  }

  async function openTab() {
    const tab = await browser.openTab();
    const run = (fn, ...args) => tab.run(`(${fn})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
    // Between two pages there is none to ask.
    const isSo = (fn, args) => run(fn, ...args).catch(() => false);
    async function back(path) {
      await tab.back();
      await until(`${path} is shown again, in ${name}`, () => isSo((path) => location.pathname === path && document.readyState === 'complete', [path]));
    }
    return { ...tab, back, staysHidden: name === 'webkit', run, until: (what, fn, ...args) => until(`${what}, in ${name}`, () => isSo(fn, args)) };
  }

  return {
    name,
    version: browser.version,
    openTab,
    kill: () => browser.program.kill(),
    async end() {
      browser.disconnect?.();
      await browser.program.end();
      await display.end();
    },
  };
}
