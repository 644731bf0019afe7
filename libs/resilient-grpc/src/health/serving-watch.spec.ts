import { BehaviorSubject } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { Connectivity } from '../call/connectivity.js';
import type { AuxiliaryStreamEnd, AuxiliaryStreamListener } from '../client/create-client.js';
import { StatusCode } from '../status/status-code.js';
import { BusyClock } from '../../../../test/unit-support/busy-clock.js';
import { ServingWatch } from './serving-watch.js';

const UNAVAILABLE = { code: StatusCode.UNAVAILABLE, details: '' };
const UNIMPLEMENTED = { code: StatusCode.UNIMPLEMENTED, details: 'The server does not implement the method' };

/** Creates a `ServingWatch` on a fake client. The test sends each status on the Watch streams of that client. */
function makeWatch(initial: Connectivity['state'] = 'READY') {
  const clock = new BusyClock();
  const states = new BehaviorSubject<Connectivity>({ state: initial, since: new Date(0) });
  /** Start times of the Watch streams. */
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
    openStream: (_method: unknown, request: object, callbacks: AuxiliaryStreamListener) => {
      begunAt.push(clock.now());
      requests.push(request);
      if (broken) return Promise.reject(new Error('no token'));
      if (!connected) return Promise.resolve(undefined);
      listener = callbacks;
      const number = begunAt.length;
      return Promise.resolve({ cancel: () => cancelled.push(number) });
    },
  };
  const watch = new ServingWatch(client, 'orders.v1.Orders', clock, () => 0.5);
  return {
    clock,
    watch,
    begunAt,
    requests,
    cancelled,
    enter: (state: Connectivity['state']) => {
      states.next({ state, since: new Date(clock.now()) });
    },
    respond: (status: string) => listener?.onMessage({ status }),
    end: (status?: AuxiliaryStreamEnd) => listener?.onEnd(status),
    endConnection: () => listener?.onConnectionEnd(),
    disconnect: () => (connected = false),
    breakMetadata: () => (broken = true),
    closeClient: () => {
      states.complete();
    },
    /** Returns the answer that is available without waiting. */
    readAnswer: async () => {
      const answer = watch.status(0);
      await clock.advanceAsync(0);
      return answer;
    },
  };
}

describe('ServingWatch', () => {
  it('starts no health Watch and does not wait while the channel is not READY', async () => {
    const { watch, enter, begunAt, clock } = makeWatch('IDLE');
    expect(await watch.status(1_000)).toBeUndefined();
    enter('CONNECTING');
    expect(await watch.status(1_000)).toBeUndefined();
    expect([begunAt, clock.pending]).toEqual([[], 0]);
    enter('READY');
    expect(begunAt).toHaveLength(1);
  });

  it('starts only one health Watch if READY is emitted repeatedly', async () => {
    const { enter, respond, begunAt, clock } = makeWatch();
    enter('READY');
    await clock.advanceAsync(1);
    respond('SERVING');
    enter('READY');
    expect(begunAt).toHaveLength(1);
  });

  it('cancels the health Watch and discards its status when the channel is no longer READY', async () => {
    const { enter, respond, cancelled, readAnswer, clock, begunAt } = makeWatch();
    await clock.advanceAsync(1);
    respond('SERVING');
    enter('IDLE');
    expect(cancelled).toEqual([1]);
    expect(await readAnswer()).toBeUndefined();
    enter('READY');
    await clock.advanceAsync(1);
    expect(begunAt).toHaveLength(2);
    expect(await readAnswer()).toEqual({ kind: 'unanswered', afterMs: 0 });
  });

  it('stops waiting for a health status when the connection is lost', async () => {
    const { watch, enter, clock } = makeWatch();
    const answer = watch.status(60_000);
    await clock.advanceAsync(5);
    enter('TRANSIENT_FAILURE');
    expect(await answer).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('returns a health status that arrived while the event loop was blocked', async () => {
    const { watch, respond, clock } = makeWatch();
    const answer = watch.status(300);
    await clock.advanceAsync(1);
    clock.setTimer(() => respond('SERVING'), 400);
    clock.block(3_000);
    await clock.advanceAsync(3_000);
    expect(await answer).toEqual({ kind: 'status', status: 'SERVING' });
  });

  it('reports a failure if a health Watch ends before its first status, and restarts the Watch with growing backoff', async () => {
    const { end, begunAt, clock, readAnswer } = makeWatch();
    for (const delay of [1_000, 1_600, 2_560]) {
      await clock.advanceAsync(1);
      end(UNAVAILABLE);
      expect(await readAnswer()).toEqual({ kind: 'failed', method: 'Watch', code: StatusCode.UNAVAILABLE });
      await clock.advanceAsync(delay);
    }
    expect(begunAt).toHaveLength(4);
    expect(begunAt.map(Math.round)).toEqual([0, 1_001, 2_602, 5_163]);
  });

  it('restarts a long-lived health Watch after a short delay and waits for its status', async () => {
    const { watch, respond, end, begunAt, clock } = makeWatch();
    await clock.advanceAsync(1);
    respond('SERVING');
    await clock.advanceAsync(2_000);
    end({ code: StatusCode.OK, details: '' });
    const answer = watch.status(1_000);
    await clock.advanceAsync(60);
    respond('SERVING');
    expect(await answer).toEqual({ kind: 'status', status: 'SERVING' });
    expect(begunAt).toEqual([0, 2_051]);
  });

  it('starts at most one health Watch a second if each ends immediately after its status', async () => {
    const { respond, end, begunAt, clock } = makeWatch();
    for (let round = 0; round < 100; round++) {
      await clock.advanceAsync(100);
      respond('SERVING');
      end(UNAVAILABLE);
    }
    expect(begunAt.length).toBeLessThanOrEqual(11);
  });

  it('reports an unimplemented health Watch and does not restart it on the same connection', async () => {
    const { enter, end, begunAt, cancelled, clock, readAnswer } = makeWatch();
    await clock.advanceAsync(1);
    end(UNIMPLEMENTED);
    expect(await readAnswer()).toEqual({ kind: 'unimplemented' });
    enter('READY');
    await clock.advanceAsync(600_000);
    expect([begunAt.length, cancelled, clock.pending]).toEqual([1, [], 0]);
    enter('IDLE');
    expect(cancelled).toEqual([1]);
    enter('READY');
    expect(begunAt).toHaveLength(2);
  });

  it('restarts an unimplemented health Watch only once if its connection ends while the channel is READY', async () => {
    const { enter, end, endConnection, respond, begunAt, clock, readAnswer } = makeWatch();
    await clock.advanceAsync(1);
    end(UNIMPLEMENTED);
    await clock.advanceAsync(600_000);
    endConnection();
    enter('READY');
    expect(await readAnswer()).toEqual({ kind: 'unanswered', afterMs: 0 });
    await clock.advanceAsync(60);
    expect(begunAt).toEqual([0, 600_051]);
    respond('NOT_SERVING');
    expect(await readAnswer()).toEqual({ kind: 'status', status: 'NOT_SERVING' });
    await clock.advanceAsync(600_000);
    expect([begunAt.length, clock.pending]).toEqual([2, 0]);
  });

  it('releases the stream of a failed health Watch, so that the end of its connection restarts no Watch', async () => {
    const { end, endConnection, begunAt, cancelled, clock } = makeWatch();
    await clock.advanceAsync(1);
    end(UNAVAILABLE);
    expect(cancelled).toEqual([1]);
    endConnection();
    await clock.advanceAsync(999);
    expect(begunAt).toEqual([0]);
    await clock.advanceAsync(1);
    expect(begunAt).toEqual([0, 1_001]);
  });

  it('retries the health Watch with backoff if a READY channel has no connection, or if the metadata function fails', async () => {
    for (const trouble of ['disconnect', 'breakMetadata'] as const) {
      const { enter, begunAt, clock, ...rest } = makeWatch('IDLE');
      rest[trouble]();
      enter('READY');
      await clock.advanceAsync(60_000);
      expect(begunAt.length).toBeLessThan(12);
      expect(begunAt.length).toBeGreaterThan(5);
    }
  });

  it('cancels the health Watch if the ServingWatch or the client is closed, and starts no other Watch', async () => {
    for (const how of ['close', 'closeClient'] as const) {
      const { watch, closeClient, enter, respond, cancelled, begunAt, clock } = makeWatch();
      await clock.advanceAsync(1);
      respond('SERVING');
      if (how === 'close') watch.close();
      else closeClient();
      enter('IDLE');
      enter('READY');
      await clock.advanceAsync(60_000);
      expect([cancelled, begunAt.length, clock.pending]).toEqual([[1], 1, 0]);
      expect(await watch.status(100)).toBeUndefined();
    }
  });

  it('cancels a health Watch whose stream opens after close()', async () => {
    const { watch, cancelled, clock } = makeWatch();
    watch.close();
    await clock.advanceAsync(1);
    expect(cancelled).toEqual([1]);
  });
});
