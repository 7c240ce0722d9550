// Pictures of each page and state, in both themes and two sizes, for docs/images. `script/screenshots` runs it.
//
//   node screenshots.js FOLDER [ORIGIN [PART]]     of a server of its own (also where ORIGIN is empty), or of one
//                                                  that runs with guest-hosts; PART is the name of a function below

import { mkdirSync } from 'node:fs';

import { comeIn, connection, crowd, launch, newPerson, sees, seesStatus } from './harness/browser.js';
import { ask, openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

const [folder = 'shots', origin, only] = process.argv.slice(2);
const own = origin ? null : await startServer({ 'idle-after': '2s', grace: '60s', 'beat-interval': '1s', 'max-participants': 300 });
const server = own ?? { origin };
const browser = await launch();
mkdirSync(folder, { recursive: true });

const DESK = { viewport: { width: 1120, height: 760 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true };
const THEMES = ['light', 'dark'];
const NAMES = ['Grace Hopper', 'Björn Ångström', 'كريم', '李小龍', 'Maria da Silva', 'Ōta'];

/** The page in both themes. */
async function shoot(page, name, options) {
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.screenshot({ path: `${folder}/${name}-${colorScheme}.png`, ...options });
  }
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
}

const isolated = (options) => newPerson(null, browser, { expects: [/./], ...options });

/** Sits and notices are told by the server in its own time; here they are put into its mouth. */
async function prompter(page) {
  let say;
  await page.routeWebSocket(/\/ws\?/, (socket) => {
    socket.connectToServer();
    say = (frame) => socket.send(JSON.stringify(frame));
  });
  return (frame) => say(frame);
}

/** Without being shown as reconnecting in the next picture. */
async function goOut(page) {
  await page.getByRole('button', { name: 'Leave' }).click();
  await page.locator('#ended').waitFor();
  await page.context().close();
}

async function firstPages() {
  for (const [size, options] of [['desk', DESK], ['phone', PHONE]]) {
    const page = await isolated(options);
    await page.goto(server.origin);
    await shoot(page, `open-${size}`);
    await page.getByLabel('What are you reading?').fill('Middlemarch, book two');
    await page.getByRole('button', { name: 'Open a session' }).click();
    await page.getByRole('button', { name: 'QR code' }).click();
    await page.locator('.code svg').waitFor();
    await shoot(page, `opened-${size}`);
    await page.context().close();
  }
}

async function rooms() {
  const session = await openSession(server, { title: 'Middlemarch, book two' });
  const others = await isolated();
  await crowd(others, server.origin, session.guestPath, NAMES);
  const lost = await comeIn(await isolated(), server.origin + session.guestPath, 'Ada Lovelace');
  for (const [size, options] of [['desk', DESK], ['phone', PHONE]]) {
    const page = await isolated(options);
    await page.goto(server.origin + session.guestPath);
    await page.getByLabel('Your name').waitFor();
    await shoot(page, `door-${size}`);
    await comeIn(page, server.origin + session.guestPath, 'Virginia Woolf');
    await sees(page, 'Grace Hopper');
    if (size === 'desk') await lost.context().close();
    await seesStatus(page, 'Ada Lovelace', 'reconnecting');
    await seesStatus(page, 'Grace Hopper', 'idle');
    await others.evaluate(() => window.crowd.slice(3).forEach((room) => room.setActive()));
    await seesStatus(page, 'Ōta', 'active');
    await shoot(page, `room-${size}`);
    await goOut(page);
  }
  for (const [size, options] of [['desk', DESK], ['phone', PHONE]]) {
    const page = await isolated(options);
    const say = await prompter(page);
    await comeIn(page, server.origin + session.hostPath, 'George Eliot');
    if (size === 'desk') {
      await page.locator('#host').evaluate((panel) => { panel.open = true; });
      await page.getByRole('button', { name: 'Make a link' }).click();
      await page.locator('#links li').nth(2).waitFor();
      const usual = page.viewportSize();
      await page.setViewportSize({ ...usual, height: 1120 });
      await shoot(page, `host-${size}`);
      await page.setViewportSize(usual);
      await page.locator('#host').evaluate((panel) => { panel.open = false; });
    } else {
      await shoot(page, `host-${size}`);
      await shoot(page, `host-whole-${size}`, { fullPage: true });
    }
    const now = Date.now();
    say({ type: 'sit', id: 's', started_at: new Date(now - 200_000).toISOString(), ends_at: new Date(now + 400_000).toISOString() });
    say({ type: 'expiring', expires_at: new Date(now + 300_000).toISOString(), minutes: 5 });
    await page.locator('#sit').waitFor();
    await page.locator('#expiring').waitFor();
    await shoot(page, `sit-${size}`);
    await goOut(page);
  }
}

async function endings() {
  const full = await openSession(server, { max_participants: 1 });
  await comeIn(await isolated(), server.origin + full.hostPath, 'Host');
  const page = await isolated(DESK);
  await page.goto(`${server.origin}/join/lsi_unknown`);
  await page.locator('#ended').waitFor();
  await shoot(page, 'unknown-link');
  await page.goto(server.origin + full.guestPath);
  await page.getByLabel('Your name').fill('Late');
  await page.getByRole('button', { name: 'Join' }).click();
  await page.locator('#ended').waitFor();
  await shoot(page, 'full');
  await page.context().close();
}

/** A dead link, on a server that leads home from it. */
async function wayHome() {
  if (origin) return;
  const leading = await startServer({ 'home-url': 'https://app.example/rooms', 'dead-link-redirect': '15s' });
  const page = await isolated(PHONE);
  await page.goto(`${leading.origin}/join/lsi_unknown`);
  await page.locator('#homeward').waitFor();
  await shoot(page, 'home-phone');
  await page.context().close();
  await leading.end();
}

/** A host who puts people out, and lets one in again. */
async function removal() {
  const session = await openSession(server, { title: 'Middlemarch, book two' });
  const others = await isolated();
  await crowd(others, server.origin, session.guestPath, NAMES.slice(0, 3));
  const mel = await isolated();
  await mel.addInitScript((jwt) => sessionStorage.setItem('lastseen:token', jwt), token({ sub: '6f1c2d3e-0000-4000-8000-0000000000aa', name: 'Mel' }));
  await mel.goto(server.origin + session.guestPath);
  const page = await isolated(PHONE);
  await comeIn(page, server.origin + session.hostPath, 'George Eliot');
  await sees(page, 'Mel');
  await page.locator('#host').evaluate((panel) => { panel.open = true; });
  await page.getByRole('button', { name: 'Remove people…' }).click();
  await page.getByRole('checkbox').check();
  await page.getByRole('button', { name: /^Remove .*Mel/ }).dblclick();
  await page.locator('#removed').waitFor();
  await shoot(page, 'removal-whole-phone', { fullPage: true });
  await goOut(page);
  await Promise.all([others, mel].map((one) => one.context().close()));
}

async function largeRoom() {
  const session = await openSession(server, { title: 'Two hundred', max_participants: 300 });
  await crowd(await isolated(), server.origin, session.guestPath, Array.from({ length: 199 }, (_, n) => `Reader ${n + 1}`));
  const page = await isolated(DESK);
  await comeIn(page, server.origin + session.guestPath, 'Virginia Woolf');
  await page.locator('#people .person').nth(199).waitFor({ state: 'attached' });
  await shoot(page, 'large');
  await page.context().close();
}

async function lostConnection() {
  const session = await openSession(server, { title: 'Middlemarch, book two' });
  const page = await isolated(DESK);
  let cut;
  await page.routeWebSocket(/\/ws\?/, (socket) => {
    if (cut === true) return socket.close({ code: 1012 });
    socket.connectToServer();
    cut = () => { cut = true; socket.close({ code: 4008 }); };
  });
  await comeIn(page, server.origin + session.hostPath, 'George Eliot');
  cut();
  await connection(page, 'reconnecting');
  await shoot(page, 'reconnecting');
  await page.context().close();
}

/** Things of the other systems, so that there is something to be counted. */
async function otherSystems() {
  const platforms = ['web', 'web', 'web', 'ios-external', 'ios-external', 'macos-internal'];
  for (const [n, platform] of platforms.entries()) {
    const one = { token: token({ sub: `6f1c2d3e-0000-4000-8000-00000000000${n}`, name: NAMES[n] }) };
    await ask(server, 'POST', '/v1/user-sessions', { ...one, body: { session_id: `device-${n}`, platform } });
    if (n % 2 === 0) await ask(server, 'POST', '/v1/check-ins', one);
    if (n % 3 === 0) await ask(server, 'POST', '/v1/sits', { ...one, body: { sit_length_seconds: 600 } });
  }
  await ask(server, 'POST', '/v1/user-sessions/device-5/end', { token: token({ sub: '6f1c2d3e-0000-4000-8000-000000000005' }), body: { end_reason: 'logout' } });
}

/** The dashboard while people come and go. A server of somebody else's has a secret of its own, and no picture of it. */
async function dashboard() {
  if (origin) return;
  await otherSystems();
  const service = token({ role: 'service_role' });
  const titles = ['Middlemarch, book two', 'Emma, chapter one', 'To the Lighthouse', 'Mrs Dalloway'];
  const sessions = [];
  for (const title of titles) sessions.push(await openSession(server, { title }));
  const others = [];
  for (const [n, session] of sessions.entries()) {
    const other = await isolated();
    await crowd(other, server.origin, session.guestPath, NAMES.slice(0, 3 + n));
    others.push(other);
    await other.waitForTimeout(8000);
  }
  await others[1].evaluate(() => window.crowd.slice(1).forEach((room) => room.leave()));
  await others[2].evaluate(() => window.crowd.slice(2).forEach((room) => room.setActive()));
  for (const path of ['lsi_a', 'lsi_b', 'lsi_c']) await ask(server, 'GET', `/v1/invites/${path}`).catch(() => {});
  await ask(server, 'GET', '/v1/admin/stats').catch(() => {});
  await ask(server, 'POST', '/v1/admin/sweep', { token: service });
  for (const [size, options] of [['desk', { viewport: { width: 1240, height: 1180 } }], ['phone', PHONE]]) {
    const page = await isolated(options);
    await page.goto(`${server.origin}/admin`);
    await shoot(page, `admin-door-${size}`);
    await page.getByLabel('Service token').fill(service);
    await page.getByRole('button', { name: 'Look' }).click();
    await page.locator('#dashboard').waitFor();
    await page.waitForTimeout(8000);
    await page.getByRole('button', { name: titles[2], exact: true }).first().click();
    await page.locator('.folk').waitFor();
    await page.evaluate(() => scrollTo(0, 0));
    await shoot(page, `admin-${size}`);
    await page.locator('#sessions-title').evaluate((it) => it.scrollIntoView());
    await shoot(page, `admin-sessions-${size}`);
    await page.locator('#systems-title').evaluate((it) => it.scrollIntoView());
    await shoot(page, `admin-days-${size}`);
    await page.context().close();
  }
  for (const other of others) await other.context().close();
}

try {
  for (const part of [firstPages, rooms, removal, endings, wayHome, lostConnection, largeRoom, dashboard].filter(({ name }) => !only || name === only)) await part();
} finally {
  await browser.close();
  await own?.end();
}
