// Tabs by WebDriver, through the program that the makers of a browser give for it.

import { Builder, By, until as condition } from 'selenium-webdriver';

import { PATIENCE_MS, until } from '../browser.js';
import { freePort, startProgram } from './program.js';

/** `hiding` says how a tab is hidden and shown again: `{ hide(session), show(session) }`. */
export async function launchClassic({ driver, env, capabilities, hiding }) {
  const port = await freePort();
  const program = await startProgram(driver, () => [`--port=${port}`], env);
  const url = `http://127.0.0.1:${port}`;
  try {
    await until(`${driver} answers`, () => {
      program.mustRun();
      return fetch(`${url}/status`).then(({ ok }) => ok, () => false);
    });
    return await open();
  } catch (error) {
    await program.end();
    throw error;
  }

  async function open() {
    const session = await new Builder().usingServer(url).withCapabilities(capabilities(program.home)).build();
    await session.manage().setTimeouts({ pageLoad: PATIENCE_MS, script: PATIENCE_MS });
    const found = await session.getCapabilities();
    const first = await session.getWindowHandle(); // stays open, for the session ends with its last one
    let current = first;

    async function openTab() {
      await session.switchTo().window(first);
      await session.switchTo().newWindow('tab');
      const own = current = await session.getWindowHandle();
      /** In this tab. */
      const here = (act) => inTime(async () => {
        if (current !== own) await session.switchTo().window(current = own);
        return act();
      });
      return {
        goto: (address) => here(() => session.get(address)),
        back: () => here(() => session.executeScript('setTimeout(() => history.back())')),
        reload: () => here(() => session.navigate().refresh()),
        close: () => here(() => session.close()),
        run: (text) => here(() => session.executeScript(`return ${text}`)),
        press: (selector) => here(async () => {
          const element = await session.wait(condition.elementLocated(By.css(selector)), PATIENCE_MS);
          await session.wait(condition.elementIsVisible(element), PATIENCE_MS);
          await element.click();
        }),
        type: (selector, text) => here(() => session.findElement(By.css(selector)).sendKeys(text)),
        hide: () => here(async () => {
          await hiding.hide(session);
          current = await session.getWindowHandle();
        }),
        show: () => here(() => hiding.show?.(session)),
      };
    }

    return { program, version: `${found.get('browserName')} ${found.get('browserVersion')}`, openTab };
  }
}

/** A driver that does not answer any more fails the test, and does not hold it for ever. */
async function inTime(act) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('the driver of the browser does not answer')), 2 * PATIENCE_MS);
  });
  return Promise.race([act(), limit]).finally(() => clearTimeout(timer));
}

/** Another tab is before it, until it is asked for. */
export const behindAnother = {
  async hide(session) {
    await session.switchTo().newWindow('tab');
    await session.sendDevToolsCommand('Page.bringToFront');
  },
};

/** Its window is minimised, for good: without a window manager nothing brings it back. */
export const minimised = {
  hide: (session) => session.manage().window().minimize(),
  show() { throw new Error('a window that is minimised stays so'); },
};
