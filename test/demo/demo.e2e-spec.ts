import { describe, expect, it } from 'vitest';
import { DRAIN_MS, demo, figuresOf, play, type ShutdownFigures } from '../support/demo-run.js';

// Of the program itself, as `npm run demo` runs it: `npm test` builds it first. The other scenarios are with `npm run pack:check`.
describe('the demo in a terminal', () => {
  it(
    'prints one object for a restart, in which our client lost nothing and did nothing twice',
    { timeout: 60_000 },
    async () => {
      const { resilient } = await play('restart', 6);
      expect(resilient).toMatchObject({ failed: 0, failedByCode: {} });
    },
  );

  it(
    'ends a process in time whatever hangs in it, and ends nothing as a success that is none',
    { timeout: 60_000 },
    async () => {
      const { plain, resilient } = await figuresOf<ShutdownFigures>('shutdown', 4);
      for (const figures of [plain, resilient]) {
        expect(figures).toEqual({
          exitMs: expect.any(Number),
          killed: expect.any(Boolean),
          idleExitMs: expect.any(Number),
          clientsClosedMs: figures === resilient ? expect.any(Number) : null,
          unaryInFlight: expect.any(Number),
          unaryFailed: expect.any(Number),
          streamsCompleted: expect.any(Number),
          exportsFailed: expect.any(Number),
          exportsTruncated: 0,
          feed: expect.any(String),
          openHandles: expect.any(Number),
        });
        expect(figures.unaryInFlight).toBeGreaterThan(0);
      }
      expect(plain).toMatchObject({ killed: true, feed: 'running' });
      expect(plain.openHandles).toBeGreaterThan(0);
      // The feed, and the export that was done in time; the other one broke off.
      expect(resilient).toMatchObject({ killed: false, unaryFailed: 0, streamsCompleted: 2, exportsFailed: 1 });
      expect(resilient).toMatchObject({ feed: 'completed', openHandles: 0 });
      expect(resilient.clientsClosedMs).toBeLessThan(DRAIN_MS + 200);
      expect(resilient.exitMs).toBeLessThan(DRAIN_MS + 500);
      expect(resilient.idleExitMs).toBeLessThan(500);
    },
  );

  it('says what it takes when it is asked for something else', async () => {
    await expect(demo('--scenario', 'earthquake')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'restart|drain|reset|idle-cut|overload|slow|feed|freeze|blackhole|shutdown|rolling',
      ),
    });
    await expect(demo('--seconds', 'soon')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("'soon'"),
    });
    await expect(demo('--server', 'apache')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('resilient|nest'),
    });
  });
});
