import { describe, expect, it } from 'vitest';
import type { ServerDrainHandle } from '../nest/grpc-lifecycle.js';
import type { ServerDrainReport } from '../call/server-event.js';
import type { DrainListener } from './server-drain.js';
import { ServerLifecycle } from './server-lifecycle.js';

const REPORT: ServerDrainReport = {
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
    markBootstrapped: () => log.push('bootstrapped'),
    drain: {
      begin: () => log.push('begin'),
      draining: false,
      ready: readiness,
      run: () => {
        log.push('run');
        return new Promise<ServerDrainReport>(() => undefined);
      },
      runInBackground: () => log.push('run'),
      streamsNotified: () => Promise.resolve(),
      onEnd: (listener: DrainListener) => (logDrain = listener),
    },
  };
  const endAfter: ServerDrainHandle[] = [];
  const clients = { endAfter: (handle: ServerDrainHandle) => endAfter.push(handle) };
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
    drainEnded: (...result: Parameters<DrainListener>) => {
      logDrain(...result);
    },
  };
}

describe('ServerLifecycle', () => {
  it('notifies the health service that the application has started', () => {
    const { made, log } = lifecycle();
    made.onApplicationBootstrap();
    expect(log).toEqual(['bootstrapped']);
  });

  it('begins the drain in the first shutdown hook and runs it after the readiness delay, which Nest awaits', async () => {
    const { made, log, ready } = lifecycle();
    made.onModuleDestroy();
    const hook = made.beforeApplicationShutdown();
    await Promise.resolve();
    expect(log).toEqual(['begin']);
    ready();
    await hook;
    expect(log).toEqual(['begin', 'run']);
  });

  it('closes the clients of the process after the server', () => {
    const { endAfter, server } = lifecycle();
    expect(endAfter).toEqual([server.drain]);
  });

  it('logs the drain in one line', () => {
    const { log, drainEnded: logDrain } = lifecycle();
    logDrain(REPORT, new Map());
    logDrain({ ...REPORT, finished: 1, completed: 3 }, new Map());
    expect(log).toEqual([
      'drained in 312 ms: 12 calls finished, 50 streams ended, 0 cut off',
      'drained in 312 ms: 1 call finished, 3 streams completed, 50 streams ended, 0 cut off',
    ]);
  });

  it('warns about calls that a drain cut off and lists at most five paths', () => {
    const { log, drainEnded: logDrain } = lifecycle();
    const paths = new Map(Array.from({ length: 7 }, (_, number) => [`/a.B/M${String(number)}`, number + 1]));
    logDrain({ ...REPORT, cutOff: 28 }, paths);
    expect(log).toEqual([
      'WARN drained in 312 ms: 12 calls finished, 50 streams ended, 28 cut off (1 call to /a.B/M0, 2 calls to /a.B/M1, ' +
        '3 calls to /a.B/M2, 4 calls to /a.B/M3, 5 calls to /a.B/M4, calls to 2 more methods)',
    ]);
  });

  it('warns about connections that a drain cut off', () => {
    const { log, drainEnded: logDrain } = lifecycle();
    logDrain({ ...REPORT, connectionsCutOff: 1 }, new Map());
    logDrain({ ...REPORT, cutOff: 2, connectionsCutOff: 2 }, new Map([['/a.B/M', 2]]));
    expect(log).toEqual([
      'WARN drained in 312 ms: 12 calls finished, 50 streams ended, 0 cut off, 1 connection cut off',
      'WARN drained in 312 ms: 12 calls finished, 50 streams ended, 2 cut off (2 calls to /a.B/M), 2 connections cut off',
    ]);
  });
});
