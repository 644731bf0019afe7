import { describe, expect, it } from 'vitest';
import type { ServerDrainHandle } from '../nest/grpc-lifecycle.js';
import type { ServerDrainReport } from '../call/server-event.js';
import type { DrainListener } from './server-drain.js';
import { ServerLifecycle } from './server-lifecycle.js';

const QUIET: ServerDrainReport = {
  finished: 12,
  completed: 0,
  ended: 50,
  cutOff: 0,
  connectionsCutOff: 0,
  durationMs: 311.7,
};

function lifecycle() {
  const log: string[] = [];
  let logDrain: DrainListener = () => undefined;
  let ready: () => void = () => undefined;
  const readiness = new Promise<void>((resolve) => (ready = resolve));
  const server = {
    health: { bootstrapped: () => log.push('bootstrapped') },
    drain: {
      begin: () => log.push('begin'),
      draining: false,
      readiness: () => readiness,
      run: () => {
        log.push('run');
        // Nest closes the HTTP server meanwhile, which may hang.
        return new Promise<ServerDrainReport>(() => undefined);
      },
      runInBackground: () => log.push('run'),
      streamsNotified: () => Promise.resolve(),
      onEnd: (listener: DrainListener) => (logDrain = listener),
    },
  };
  const endAfter: ServerDrainHandle[] = [];
  const clients = { endAfter: (beside: ServerDrainHandle) => endAfter.push(beside) };
  const logger = {
    log: (line: unknown) => log.push(String(line)),
    warn: (line: unknown) => log.push(`WARN ${String(line)}`),
  };
  const made = new ServerLifecycle(server, clients, logger);
  return {
    made,
    log,
    ready,
    server,
    endAfter,
    tell: (...told: Parameters<DrainListener>) => {
      logDrain(...told);
    },
  };
}

describe('the life of a server in an application', () => {
  it('is SERVING when the application has started', () => {
    const { made, log } = lifecycle();
    made.onApplicationBootstrap();
    expect(log).toEqual(['bootstrapped']);
  });

  it('begins to drain at the first hook, and goes on when the readiness delay is over, which Nest waits for', async () => {
    const { made, log, ready } = lifecycle();
    made.onModuleDestroy();
    const hook = made.beforeApplicationShutdown();
    await Promise.resolve();
    expect(log).toEqual(['begin']);
    ready();
    await hook;
    expect(log).toEqual(['begin', 'run']);
  });

  it('lets the clients of its process end after it', () => {
    const { endAfter, server } = lifecycle();
    expect(endAfter).toEqual([server.drain]);
  });

  it('tells of its drain in one line', () => {
    const { log, tell: logDrain } = lifecycle();
    logDrain(QUIET, new Map());
    logDrain({ ...QUIET, finished: 1, completed: 3 }, new Map());
    expect(log).toEqual([
      'drained in 312 ms: 12 calls finished, 50 streams ended, 0 cut off',
      'drained in 312 ms: 1 call finished, 3 streams completed, 50 streams ended, 0 cut off',
    ]);
  });

  it('warns of calls that were cut off, and names five paths of them', () => {
    const { log, tell: logDrain } = lifecycle();
    const paths = new Map(Array.from({ length: 7 }, (_, number) => [`/a.B/M${String(number)}`, number + 1]));
    logDrain({ ...QUIET, cutOff: 28 }, paths);
    expect(log).toEqual([
      'WARN drained in 312 ms: 12 calls finished, 50 streams ended, 28 cut off (1 call of /a.B/M0, 2 calls of /a.B/M1, ' +
        '3 calls of /a.B/M2, 4 calls of /a.B/M3, 5 calls of /a.B/M4, calls of 2 more methods)',
    ]);
  });

  it('warns of connections that were cut off', () => {
    const { log, tell: logDrain } = lifecycle();
    logDrain({ ...QUIET, connectionsCutOff: 1 }, new Map());
    logDrain({ ...QUIET, cutOff: 2, connectionsCutOff: 2 }, new Map([['/a.B/M', 2]]));
    expect(log).toEqual([
      'WARN drained in 312 ms: 12 calls finished, 50 streams ended, 0 cut off, 1 connection cut off',
      'WARN drained in 312 ms: 12 calls finished, 50 streams ended, 2 cut off (2 calls of /a.B/M), 2 connections cut off',
    ]);
  });
});
