import { EMPTY } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { CircuitBreaker } from './break-circuit.js';
import { ConcurrencyLimit } from './limit-concurrency.js';
import { deadline } from './deadline.js';
import { hedge } from './hedge.js';
import { idleTimeout } from './idle-timeout.js';
import { replayUnacknowledged } from './replay-unacknowledged.js';
import { resumable } from './resumable.js';
import { retryBackoff } from './retry-backoff.js';
import { VirtualScheduler } from '../testing/virtual-scheduler.js';
import { PeerTimer } from '../time/peer-timer.js';
import { schedulerClock } from './options.js';

describe.each<[string, (options: never) => unknown]>([
  ['resumable', (options) => resumable(() => EMPTY, options)],
  ['replayUnacknowledged', (options) => replayUnacknowledged(() => EMPTY, [], options)],
  ['retryBackoff', (options) => retryBackoff(options)],
  ['deadline.options', (options) => deadline(5, options)],
  ['idleTimeout.options', (options) => idleTimeout(5, options)],
  ['hedge', (options) => hedge(options)],
  ['concurrencyLimit', (options) => new ConcurrencyLimit(options)],
  ['circuitBreaker', (options) => new CircuitBreaker(options)],
])('%s', (path, create) => {
  // Omits `undefined` from the invalid values if the options are optional.
  const invalid = ['circuitBreaker', 'deadline.options', 'idleTimeout.options'].includes(path)
    ? [null, 5, []]
    : [undefined, null, 5, []];

  it.each(invalid)(`rejects %j as the options of ${path} with a GrpcConfigurationError`, (options) => {
    let error: unknown;
    try {
      create(options as never);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(GrpcConfigurationError);
    expect((error as GrpcConfigurationError).problems[0]).toMatchObject({
      path,
      message: expect.stringMatching(/^expected an options object, such as \{ \w+/) as string,
    });
  });
});

describe('schedulerClock', () => {
  it('fires a PeerTimer in scheduler time, and does not fire a cleared one', async () => {
    const scheduler = new VirtualScheduler();
    const clock = schedulerClock(scheduler);
    const firedAt: number[] = [];
    new PeerTimer(clock, 100, () => firedAt.push(clock.epoch()));
    const cleared = new PeerTimer(clock, 300, () => firedAt.push(clock.now()));
    await scheduler.pass(100);
    expect(firedAt).toEqual([100]);
    cleared.clear();
    await scheduler.pass(1_000);
    expect([firedAt, scheduler.pending]).toEqual([[100], 0]);
  });
});
