import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { freePort } from './free-port.js';

it('returns a different port outside the ephemeral range for each call to freePort()', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, freePort));
  expect(new Set(ports).size).toBe(50);
  for (const port of ports) {
    expect(port).toBeGreaterThanOrEqual(20_000);
    expect(port).toBeLessThan(30_000);
  }
});

it.each(['127.0.0.1', '0.0.0.0'])('skips a port in freePort() if a server listens on it at %s', async (host) => {
  const used = (await freePort()) + 1;
  const server = createServer().listen(used, host);
  // An 'error' event means that another process already listens on the port, so the port is in use in either case.
  await new Promise((resolve) => server.once('listening', resolve).once('error', resolve));
  expect(await freePort()).not.toBe(used);
  server.close();
});
