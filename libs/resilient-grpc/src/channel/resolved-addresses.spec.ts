import { describe, expect, it } from 'vitest';
import type { GrpcClientEvent } from '../call/call-event.js';
import { EventHub } from '../call/event-hub.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { connectFailure } from './connection/connect-failure.js';
import { ResolvedAddresses } from './resolved-addresses.js';

const ADDRESS = '10.0.0.8:50051';
const OTHER = '10.0.0.9:50051';

function make() {
  const clock = new VirtualClock();
  const hub = new EventHub({ client: 'orders' }, () => clock.epoch());
  const events: GrpcClientEvent[] = [];
  hub.listen((event) => {
    if (event.type === 'reachability') events.push(event);
  }, false);
  const addresses = new ResolvedAddresses(clock, hub);
  addresses.use([ADDRESS, OTHER]);
  /** Reports a failed attempt to connect to `address`, after `failingMs` of failed attempts. */
  const fail = (failingMs: number, address = ADDRESS) => {
    addresses.connectFailed(connectFailure('refused', address, 'ECONNREFUSED'), address, {
      failingMs: () => failingMs,
    });
  };
  return { events, addresses, fail };
}

describe('ResolvedAddresses', () => {
  it('reports an endpoint again if it becomes unreachable again', () => {
    const { events, addresses, fail } = make();
    fail(60_000);
    addresses.connected(ADDRESS);
    fail(60_000);
    expect(events).toHaveLength(3);
  });

  it('neither reports nor keeps an unreachable endpoint whose address is not in use', () => {
    const { events, addresses, fail } = make();
    fail(60_000, '10.0.0.10:50051');
    expect(events).toEqual([]);
    fail(60_000);
    addresses.use([OTHER]);
    addresses.connected(ADDRESS);
    fail(120_000);
    expect(events).toHaveLength(1);
    addresses.use([ADDRESS, OTHER]);
    fail(60_000);
    expect(events).toHaveLength(2);
  });
});
