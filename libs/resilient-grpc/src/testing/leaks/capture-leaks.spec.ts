import { createServer } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { captureLeaks } from './capture-leaks.js';

describe('captureLeaks', () => {
  it('waits for a closing resource in settled(), and reports no leak when no resource is open', async () => {
    const leaks = captureLeaks();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await leaks.settled();
  });

  it('lists leaked resources, each with the call site of its creation if trace is true', async () => {
    const leaks = captureLeaks({ trace: true });
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const interval = setInterval(() => undefined, 60_000);
    await expect(leaks.settled({ timeoutMs: 30 })).rejects.toThrow(
      /still open: 1 × listening server: created .*\n {2}1 × timer: created /,
    );
    clearInterval(interval);
    server.close();
    await leaks.settled();
  });

  it('ignores unreferenced timers, and resources that existed before captureLeaks()', async () => {
    const before = setInterval(() => undefined, 60_000);
    const leaks = captureLeaks();
    const idle = setInterval(() => undefined, 60_000).unref();
    await leaks.settled();
    clearInterval(before);
    clearInterval(idle);
  });
});
