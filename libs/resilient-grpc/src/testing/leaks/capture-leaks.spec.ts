import { createServer } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { captureLeaks } from './capture-leaks.js';

describe('captureLeaks', () => {
  it('is settled when nothing is left, and waits for what is just closing', async () => {
    const leaks = captureLeaks();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await leaks.settled();
  });

  it('names what is left', async () => {
    const leaks = captureLeaks({ trace: true });
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const timer = setTimeout(() => undefined, 60_000);
    await expect(leaks.settled({ timeoutMs: 30 })).rejects.toThrow(
      /left are 1 × listening server: made .*\n {2}1 × timer: made /,
    );
    clearTimeout(timer);
    server.close();
    await leaks.settled();
  });

  it('does not mind timers that let the process end, nor what was there before', async () => {
    const before = setTimeout(() => undefined, 60_000);
    const leaks = captureLeaks();
    const idle = setTimeout(() => undefined, 60_000).unref();
    await leaks.settled();
    clearTimeout(before);
    clearTimeout(idle);
  });
});
