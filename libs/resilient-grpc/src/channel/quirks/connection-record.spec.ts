import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { connectionRecord, observeTransport, unprocessed, type ConnectionTransport } from './connection-record.js';

/** Observes a connection with open streams 1, 3, and 5. `visits` counts the iterations over its streams. */
function makeConnection() {
  const session = Object.assign(new EventEmitter(), { socket: new EventEmitter(), destroyed: false });
  const streams = [1, 3, 5].map((id) => ({ id, closed: false, destroyed: false, state: { state: 2 } }));
  const count = { visits: 0, ends: 0 };
  const activeCalls = {
    *[Symbol.iterator]() {
      count.visits += 1;
      for (const http2Stream of streams) yield { http2Stream };
    },
  };
  // Safe: only these members of the session are used.
  const transport = { session, activeCalls } as unknown as ConnectionTransport;
  observeTransport(transport);
  connectionRecord(transport).endListeners.add(() => (count.ends += 1));
  const receiveGoaway = (lastStreamId: number, code = 0) => session.emit('goaway', code, lastStreamId);
  const rejected = () => streams.filter((stream) => unprocessed(stream) === 'rejected').map(({ id }) => id);
  return { transport, count, receiveGoaway, rejected };
}

describe('observeTransport', () => {
  it('visits the open streams only once if many GOAWAYs reject none of them', () => {
    const { count, receiveGoaway, rejected } = makeConnection();
    for (let index = 0; index < 10_000; index++) receiveGoaway(2 ** 31 - 1 - index);
    expect(count).toEqual({ visits: 1, ends: 1 });
    expect(rejected()).toEqual([]);
  });

  it('records the streams that a later GOAWAY with a lower last stream ID rejects', () => {
    const { count, receiveGoaway, rejected } = makeConnection();
    receiveGoaway(2 ** 31 - 1);
    receiveGoaway(3);
    expect(rejected()).toEqual([5]);
    receiveGoaway(3);
    receiveGoaway(1);
    expect(rejected()).toEqual([3, 5]);
    expect(count).toEqual({ visits: 3, ends: 3 });
  });

  it('records the code of a later GOAWAY with another code', () => {
    const { transport, count, receiveGoaway } = makeConnection();
    receiveGoaway(5);
    receiveGoaway(5, 11);
    expect(connectionRecord(transport).goawayCode).toBe(11);
    expect(count.ends).toBe(2);
  });
});
