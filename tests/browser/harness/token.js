// Tokens of users and of the service, signed with the secret of the test servers.

import { createHmac } from 'node:crypto';

import { SECRET } from './server.js';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function token(claims) {
  const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ role: 'authenticated', exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
  return `${head}.${createHmac('sha256', SECRET).update(head).digest('base64url')}`;
}
