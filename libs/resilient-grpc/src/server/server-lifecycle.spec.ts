import { describe, expect, it } from 'vitest';
import type { ServerDrainHandle } from '../nest/grpc-lifecycle.js';
import type { ServerDrainReport } from '../call/server-event.js';
import type { DrainListener } from './server-drain.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { ServerLifecycle } from './server-lifecycle.js';

const REPORT: ServerDrainReport = {
  finished: 12,
  completed: 0,
  ended: 50,
  cutOff: 0,
  connectionsCutOff: 0,
  durationMs: 311.7,
};

function makeLifecycle({ hasClients = true, listens = true } = {}) {
  const log: string[] = [];
  const open: [string, number][] = [];
  let logStart: () => void = () => undefined;
  let logDrain: DrainListener = () => undefined;
  let ready: () => void = () => undefined;
  const readiness = new Promise<void>((resolve) => (ready = resolve));
  const server = {
    markBootstrapped: () => log.push('bootstrapped'),
    drain: {
      begin: () => log.push('begin'),
      cutOff: () => log.push('cut off'),
      draining: false,
      ready: readiness,
      run: () => {
        log.push('run');
        return new Promise<ServerDrainReport>(() => undefined);
      },
      runInBackground: () => log.push('run'),
      streamsNotified: () => Promise.resolve(),
      onBegin: (listener: () => void) => (logStart = listener),
      onEnd: (listener: DrainListener) => (logDrain = listener),
      openPaths: () => new Map(open),
      options: { timeoutMs: 10_000, readinessDelayMs: 5_000 },
    },
  };
  const endAfter: ServerDrainHandle[] = [];
  const clients = { endAfter: (handle: ServerDrainHandle) => endAfter.push(handle) };
  const write = (level: string, text: string) => {
    log.push(level === 'warn' ? `WARN ${text}` : text);
  };
  const clock = new VirtualClock();
  const interrupts = new Set<() => void>();
  const onInterrupt = (listener: () => void) => {
    interrupts.add(listener);
    return () => interrupts.delete(listener);
  };
  const signals = { testing: false, listensForSignals: () => listens, onInterrupt };
  const made = new ServerLifecycle(server as never, hasClients ? clients : undefined, signals, clock, { write });
  return {
    clock,
    made,
    log,
    ready,
    server,
    endAfter,
    interrupts,
    drainStarted: (...paths: typeof open) => {
      open.push(...paths);
      logStart();
    },
    drainEnded: (...result: Parameters<DrainListener>) => {
      logDrain(...result);
    },
  };
}

describe('ServerLifecycle', () => {
  it.each([
    [
      'warns once about a missing enableShutdownHooks() call if the application has no clients and the process does not listen for signals',
      false,
      false,
      1,
    ],
    ['does not warn about enableShutdownHooks() if the clients of the application check it', true, false, 0],
    ['does not warn about enableShutdownHooks() if the process listens for signals', false, true, 0],
  ])('%s', (_, hasClients, listens, warnings) => {
    const { made, log, clock } = makeLifecycle({ hasClients, listens });
    made.onApplicationBootstrap();
    made.onApplicationBootstrap();
    clock.advance(10_000);
    expect(log.filter((line) => line.startsWith('WARN enableShutdownHooks() was not called'))).toHaveLength(warnings);
  });

  it('does not check enableShutdownHooks() after the shutdown has started', () => {
    const { made, clock } = makeLifecycle({ hasClients: false });
    made.onApplicationBootstrap();
    made.onModuleDestroy();
    expect(clock.pending).toBe(0);
  });

  it('cuts off the drain at a second SIGINT, except in the first half second and after the shutdown', () => {
    const { made, log, clock, interrupts } = makeLifecycle({ hasClients: false });
    const interrupt = () => {
      for (const listener of interrupts) listener();
    };
    interrupt();
    made.onModuleDestroy();
    // npm forwards the SIGINT that the terminal has also sent to the application.
    clock.advance(499);
    interrupt();
    expect(log).toEqual(['begin']);
    clock.advance(1);
    interrupt();
    expect(log).toEqual(['begin', 'cut off']);
    made.onApplicationShutdown();
    expect(interrupts.size).toBe(0);
  });

  it('logs the running calls and the drain timeout when the drain starts', () => {
    const { log, drainStarted } = makeLifecycle();
    drainStarted();
    drainStarted(['/a.B/M', 1], ['/a.B/N', 2]);
    expect(log).toEqual([
      'shutdown started with 2 calls to /a.B/N, 1 call to /a.B/M running; ' +
        'calls that do not end within 10 s (drain.timeoutMs of ResilientGrpcServerModule) are cut off; ' +
        "streams end earlier unless onDrain is 'finish'; " +
        'new calls are accepted for 5 s (readinessDelayMs)',
    ]);
  });

  it('logs the result of a drain on one line', () => {
    const { log, drainEnded: logDrain } = makeLifecycle();
    logDrain(REPORT, new Map(), false);
    logDrain({ ...REPORT, finished: 1, completed: 3 }, new Map(), false);
    expect(log).toEqual([
      'server drained 312 ms after the shutdown started: 12 calls finished, 50 streams ended, 0 cut off',
      'server drained 312 ms after the shutdown started: 1 call finished, 3 streams completed, 50 streams ended, 0 cut off',
    ]);
  });

  it('warns about calls that a drain cut off and lists at most five paths', () => {
    const { log, drainEnded: logDrain } = makeLifecycle();
    const paths = new Map(Array.from({ length: 7 }, (_, number) => [`/a.B/M${String(number)}`, number + 1]));
    logDrain({ ...REPORT, durationMs: 10_000, cutOff: 28 }, paths, false);
    expect(log).toEqual([
      'WARN server drained 10 s after the shutdown started: 12 calls finished, 50 streams ended, 28 cut off (7 calls to /a.B/M6, 6 calls to /a.B/M5, ' +
        '5 calls to /a.B/M4, 4 calls to /a.B/M3, 3 calls to /a.B/M2, and 2 more methods); to give calls more time, raise drain.timeoutMs (10 s) of ResilientGrpcServerModule.forRoot()',
    ]);
  });

  it("suggests another onDrain if a drain cut off a response stream with onDrain: 'finish'", () => {
    const { log, drainEnded: logDrain } = makeLifecycle();
    logDrain({ ...REPORT, durationMs: 10_000, cutOff: 1 }, new Map([['/a.B/Watch', 1]]), true);
    expect(log).toEqual([
      'WARN server drained 10 s after the shutdown started: 12 calls finished, 50 streams ended, 1 cut off (1 call to /a.B/Watch); ' +
        "for streams without an end, set onDrain: 'fail' or 'complete'; to give other calls more time, raise drain.timeoutMs (10 s) of ResilientGrpcServerModule.forRoot()",
    ]);
  });

  it('warns about connections that a drain cut off', () => {
    const { log, drainEnded: logDrain } = makeLifecycle();
    logDrain({ ...REPORT, connectionsCutOff: 1 }, new Map(), false);
    logDrain({ ...REPORT, durationMs: 10_000, cutOff: 2, connectionsCutOff: 2 }, new Map([['/a.B/M', 2]]), false);
    expect(log).toEqual([
      'WARN server drained 312 ms after the shutdown started: 12 calls finished, 50 streams ended, 0 cut off, 1 connection cut off',
      'WARN server drained 10 s after the shutdown started: 12 calls finished, 50 streams ended, 2 cut off (2 calls to /a.B/M), 2 connections cut off; to give calls more time, raise drain.timeoutMs (10 s) of ResilientGrpcServerModule.forRoot()',
    ]);
  });
});
