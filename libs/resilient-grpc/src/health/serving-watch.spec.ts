import { BehaviorSubject } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { Connectivity } from '../call/connectivity.js';
import type { AuxiliaryStreamListener } from '../client/internal-grpc-client.js';
import { StatusCode } from '../status/status-code.js';
import { BusyClock } from '../testing/busy-clock.js';
import { ServingWatch } from './serving-watch.js';

const UNAVAILABLE = { code: StatusCode.UNAVAILABLE, details: '' };
const UNIMPLEMENTED = { code: StatusCode.UNIMPLEMENTED, details: 'The server does not implement the method' };

/** A client whose Watch streams a test answers by hand. */
function watched(initial: Connectivity['state'] = 'READY') {
  const clock = new BusyClock();
  const states = new BehaviorSubject<Connectivity>({ state: initial, since: new Date(0) });
  /** When each Watch was begun. */
  const begunAt: number[] = [];
  const requests: unknown[] = [];
  const cancelled: number[] = [];
  let listener: AuxiliaryStreamListener | undefined;
  let connected = true;
  let broken = false;
  const client = {
    get connectivity() {
      return states.value;
    },
    connectivity$: states,
    openStream: (_method: unknown, request: object, heard: AuxiliaryStreamListener) => {
      begunAt.push(clock.now());
      requests.push(request);
      if (broken) return Promise.reject(new Error('no token'));
      if (!connected) return Promise.resolve(undefined);
      listener = heard;
      const number = begunAt.length;
      return Promise.resolve({ cancel: () => cancelled.push(number) });
    },
  };
  const watch = new ServingWatch(client, 'orders.v1.Orders', { clock, random: () => 0.5 });
  return {
    clock,
    watch,
    begunAt,
    requests,
    cancelled,
    enter: (state: Connectivity['state']) => {
      states.next({ state, since: new Date(clock.now()) });
    },
    say: (status: string) => listener?.onMessage({ status }),
    end: (status?: { code: number; details: string }) => listener?.onEnd(status),
    disconnect: () => (connected = false),
    breakMetadata: () => (broken = true),
    closeClient: () => {
      states.complete();
    },
    /** The answer, at once or never. */
    known: async () => {
      const asked = watch.ask(0);
      await clock.advanceAsync(0);
      return asked;
    },
  };
}

describe('a Watch', () => {
  it('is begun on a READY channel, asks for its service, and hands on what is said', async () => {
    const { watch, say, requests, clock } = watched();
    const first = watch.ask(1_000);
    await clock.advanceAsync(10);
    say('SERVING');
    expect(await first).toEqual({ kind: 'status', status: 'SERVING' });
    say('NOT_SERVING');
    expect(await watch.ask(1_000)).toEqual({ kind: 'status', status: 'NOT_SERVING' });
    expect(requests).toEqual([{ service: 'orders.v1.Orders' }]);
    expect(clock.pending).toBe(0);
  });

  it('is not begun while the channel is anything else, and nobody is waited for', async () => {
    const { watch, enter, begunAt, clock } = watched('IDLE');
    expect(await watch.ask(1_000)).toBeUndefined();
    enter('CONNECTING');
    expect(await watch.ask(1_000)).toBeUndefined();
    expect([begunAt, clock.pending]).toEqual([[], 0]);
    enter('READY');
    expect(begunAt).toHaveLength(1);
  });

  it('is begun once, however often the state is told', async () => {
    const { enter, say, begunAt, clock } = watched();
    enter('READY');
    await clock.advanceAsync(1);
    say('SERVING');
    enter('READY');
    expect(begunAt).toHaveLength(1);
  });

  it('is cancelled, and forgotten, when the channel is READY no longer', async () => {
    const { enter, say, cancelled, known, clock, begunAt } = watched();
    await clock.advanceAsync(1);
    say('SERVING');
    enter('IDLE');
    expect(cancelled).toEqual([1]);
    expect(await known()).toBeUndefined();
    enter('READY');
    await clock.advanceAsync(1);
    expect(begunAt).toHaveLength(2);
    expect(await known()).toEqual({ kind: 'unanswered', afterMs: 0 });
  });

  it('that is waited for is over when the connection is', async () => {
    const { watch, enter, clock } = watched();
    const asked = watch.ask(60_000);
    await clock.advanceAsync(5);
    enter('TRANSIENT_FAILURE');
    expect(await asked).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('that nobody answers is told after the time given, and goes on', async () => {
    const { watch, say, clock, begunAt } = watched();
    const asked = watch.ask(300);
    await clock.advanceAsync(300);
    expect(await asked).toEqual({ kind: 'unanswered', afterMs: 300 });
    say('SERVING');
    expect(await watch.ask(300)).toEqual({ kind: 'status', status: 'SERVING' });
    expect(begunAt).toHaveLength(1);
  });

  it('is answered where the answer lay unread while this process stood still', async () => {
    const { watch, say, clock } = watched();
    const asked = watch.ask(300);
    await clock.advanceAsync(1);
    clock.setTimer(() => say('SERVING'), 400);
    clock.block(3_000);
    await clock.advanceAsync(3_000);
    expect(await asked).toEqual({ kind: 'status', status: 'SERVING' });
  });

  it('that ends is not serving, and begun again behind a backoff that grows', async () => {
    const { end, begunAt, clock, known } = watched();
    for (const delay of [1_000, 1_600, 2_560]) {
      await clock.advanceAsync(1);
      end(UNAVAILABLE);
      expect(await known()).toEqual({ kind: 'failed', method: 'Watch', code: StatusCode.UNAVAILABLE });
      await clock.advanceAsync(delay);
    }
    expect(begunAt).toHaveLength(4);
    expect(begunAt.map(Math.round)).toEqual([0, 1_001, 2_602, 5_163]);
  });

  it('that was answered and lived is begun again at once, and waited for', async () => {
    const { watch, say, end, begunAt, clock } = watched();
    await clock.advanceAsync(1);
    say('SERVING');
    await clock.advanceAsync(2_000);
    end({ code: StatusCode.OK, details: '' });
    const asked = watch.ask(1_000);
    await clock.advanceAsync(60);
    say('SERVING');
    expect(await asked).toEqual({ kind: 'status', status: 'SERVING' });
    expect(begunAt).toEqual([0, 2_051]);
  });

  it('that is answered and ended without a pause is begun no more than once a second', async () => {
    const { say, end, begunAt, clock } = watched();
    for (let round = 0; round < 100; round++) {
      await clock.advanceAsync(100);
      say('SERVING');
      end(UNAVAILABLE);
    }
    expect(begunAt.length).toBeLessThanOrEqual(11);
  });

  it('that a server does not know is taken for serving, and not begun again on this connection', async () => {
    const { enter, end, begunAt, clock, known } = watched();
    await clock.advanceAsync(1);
    end(UNIMPLEMENTED);
    expect(await known()).toEqual({ kind: 'unimplemented' });
    enter('READY');
    await clock.advanceAsync(600_000);
    expect([begunAt.length, clock.pending]).toEqual([1, 0]);
    enter('IDLE');
    enter('READY');
    expect(begunAt).toHaveLength(2);
  });

  it('that something in between answers in HTTP is not serving', async () => {
    const { end, clock, known } = watched();
    await clock.advanceAsync(1);
    end({ code: StatusCode.UNIMPLEMENTED, details: 'Received HTTP status code 404' });
    expect(await known()).toMatchObject({ kind: 'failed' });
  });

  it('goes to another connection, where its own takes no more calls while the channel is READY', async () => {
    const { say, end, begunAt, clock, known } = watched();
    await clock.advanceAsync(1);
    say('SERVING');
    end();
    await clock.advanceAsync(60);
    expect(begunAt).toEqual([0, 51]);
    say('NOT_SERVING');
    expect(await known()).toEqual({ kind: 'status', status: 'NOT_SERVING' });
  });

  it('asks no faster where a READY channel has no connection to ask, or there is no metadata', async () => {
    for (const trouble of ['disconnect', 'breakMetadata'] as const) {
      const { enter, begunAt, clock, ...rest } = watched('IDLE');
      rest[trouble]();
      enter('READY');
      await clock.advanceAsync(60_000);
      expect(begunAt.length).toBeLessThan(12);
      expect(begunAt.length).toBeGreaterThan(5);
    }
  });

  it('is cancelled when it is closed, or its client is, and begins no more', async () => {
    for (const how of ['close', 'closeClient'] as const) {
      const { watch, closeClient, enter, say, cancelled, begunAt, clock } = watched();
      await clock.advanceAsync(1);
      say('SERVING');
      if (how === 'close') watch.close();
      else closeClient();
      enter('IDLE');
      enter('READY');
      await clock.advanceAsync(60_000);
      expect([cancelled, begunAt.length, clock.pending]).toEqual([[1], 1, 0]);
      expect(await watch.ask(100)).toBeUndefined();
    }
  });

  it('that was closed before it had begun is cancelled when it has', async () => {
    const { watch, cancelled, clock } = watched();
    watch.close();
    await clock.advanceAsync(1);
    expect(cancelled).toEqual([1]);
  });
});
