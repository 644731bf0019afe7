import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import { DEFAULT_EJECTION, type EjectionPolicy } from '../../policy/ejection/ejection-policy.js';
import { StatusCode } from '../../status/status-code.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { Endpoints, type EndpointAttempt, type EndpointGate } from './endpoints.js';

const BASE_MS = 5_000;
const EJECTION: EjectionPolicy = { ...DEFAULT_EJECTION, baseEjectionMs: BASE_MS, slowStartMs: 0 };

const ATTEMPT: Omit<EndpointAttempt, 'peer'> = {
  code: StatusCode.OK,
  details: '',
  startedAt: 0,
  measuresLatency: true,
  endedHere: 'no',
  headersReceived: true,
  messagesReceived: 0,
  channelReady: true,
  picked: true,
  contentType: 'application/grpc',
  wire: undefined,
};

class Gate implements EndpointGate {
  isReady = false;
  isIncluded = true;

  constructor(readonly address: string) {}

  include(isIncluded: boolean): void {
    this.isIncluded = isIncluded;
  }
}

function make(policy: EjectionPolicy | undefined, healthService?: string) {
  const clock = new VirtualClock();
  const events = new EventHub({ client: 'orders' }, () => clock.epoch());
  const endpoints = new Endpoints(policy, healthService, clock, () => 0.5, events);
  const connect = (address: string): Gate => {
    const gate = new Gate(address);
    endpoints.use(gate);
    gate.isReady = true;
    endpoints.connectionChanged(address, true);
    return gate;
  };
  const disconnect = (gate: Gate): void => {
    gate.isReady = false;
    endpoints.connectionChanged(gate.address, false);
  };
  const call = (peer: string, code: number): void => {
    const attempt: EndpointAttempt = { ...ATTEMPT, peer, code, startedAt: clock.now() };
    endpoints.started(attempt);
    endpoints.ended(attempt);
  };
  /** Ejects `unhealthy`: its calls fail, while those to `other` succeed. */
  const eject = (unhealthy: string, other: string): void => {
    for (let round = 0; round < 10; round++) call(other, StatusCode.OK);
    for (let round = 0; round < 5; round++) call(unhealthy, StatusCode.UNAVAILABLE);
  };
  return { clock, endpoints, connect, disconnect, call, eject };
}

describe('endpoint with several addresses', () => {
  it('ejects all addresses of an endpoint together, based on the failures of all addresses', () => {
    const { endpoints, connect, call } = make(EJECTION);
    endpoints.group([['a', 'a6'], ['b'], ['c']]);
    const [first, second, other] = ['a', 'a6', 'b', 'c'].map(connect);
    for (let round = 0; round < 10; round++) for (const peer of ['b', 'c']) call(peer, StatusCode.OK);
    for (const peer of ['a', 'a', 'a6', 'a']) call(peer, StatusCode.UNAVAILABLE);
    expect(first!.isIncluded).toBe(true);
    call('a6', StatusCode.UNAVAILABLE);
    expect([first, second, other].map((gate) => gate!.isIncluded)).toEqual([false, false, true]);
    for (const address of ['a', 'a6']) expect(endpoints.describe(address)).toMatchObject({ ejected: { ejections: 1 } });
    endpoints.group([['a', 'a6'], ['b'], ['c']]);
    expect(connect('a6').isIncluded).toBe(false);
  });

  it('limits ejections by the number of remaining endpoints, not of their addresses', () => {
    const { endpoints, connect, call } = make(EJECTION);
    endpoints.group([['a', 'a6'], ['b', 'b6'], ['c']]);
    const [a, , b] = ['a', 'a6', 'b', 'b6', 'c'].map(connect);
    for (let round = 0; round < 50; round++) call('c', StatusCode.OK);
    for (const peer of ['a6', 'b']) for (let round = 0; round < 9; round++) call(peer, StatusCode.UNAVAILABLE);
    expect([a!.isIncluded, b!.isIncluded]).toEqual([false, true]);
  });

  it('extends an ejection to an address that is added to the endpoint, and ends it for an address that is removed', () => {
    const { endpoints, connect, eject } = make(EJECTION);
    const [a, , a6] = ['a', 'b', 'a6', 'c'].map(connect);
    eject('a', 'b');
    endpoints.group([['a', 'a6'], ['b'], ['c']]);
    expect([a!.isIncluded, a6!.isIncluded]).toEqual([false, false]);
    endpoints.group([['a'], ['a6'], ['b'], ['c']]);
    expect([a!.isIncluded, a6!.isIncluded]).toEqual([false, true]);
  });
});

describe('Endpoints', () => {
  it('stops the ejection timer when no ejected endpoint is in use anymore', () => {
    const { clock, endpoints, connect, eject } = make(EJECTION);
    const gate = connect('a');
    connect('b');
    eject('a', 'b');
    expect(gate.isIncluded).toBe(false);
    endpoints.release(gate);
    clock.advance(1_000);
    expect(clock.pending).toBe(0);
  });

  it('adds an endpoint to the pick set if its ejection ended while the endpoint was not in use', () => {
    const { clock, endpoints, connect, eject } = make(EJECTION);
    const gate = connect('a');
    connect('b');
    eject('a', 'b');
    endpoints.release(gate);
    clock.advance(BASE_MS * 2);
    expect(connect('a').isIncluded).toBe(true);
    clock.advance(1_000);
    expect(clock.pending).toBe(0);
  });

  it('does not use the health of a previous connection for a new connection', () => {
    const { endpoints, connect } = make(undefined, 'orders.v1.Orders');
    const gate = connect('a');
    endpoints.healthChanged('a', 'serving');
    expect(gate.isIncluded).toBe(true);
    // The client becomes idle, which releases READY connections.
    endpoints.release(gate);
    expect(connect('a').isIncluded).toBe(false);
    expect(endpoints.isHealthPending).toBe(true);
  });

  it('keeps the health of a connection that a load-balancing policy releases and uses again', () => {
    const { endpoints, connect } = make(undefined, 'orders.v1.Orders');
    const gate = connect('a');
    endpoints.healthChanged('a', 'serving');
    endpoints.release(gate);
    endpoints.use(gate);
    expect(gate.isIncluded).toBe(true);
  });

  it('keeps the health of an endpoint if another connection to its address becomes READY', () => {
    const { endpoints, connect } = make(undefined, 'orders.v1.Orders');
    connect('a');
    endpoints.healthChanged('a', 'serving');
    expect(connect('a').isIncluded).toBe(true);
  });

  /** The rates alone decide. */
  const RATES: EjectionPolicy = { ...EJECTION, consecutiveFailures: undefined, latencyFactor: undefined };
  const A50: EjectionPolicy = { ...RATES, intervalMs: 10_000, carriedIntervals: 0 };
  const burst = (call: ReturnType<typeof make>['call'], calls: number): void => {
    for (let round = 0; round < calls; round++) {
      call('a', StatusCode.UNAVAILABLE);
      call('b', StatusCode.OK);
    }
  };

  it('ejects an endpoint at the end of the interval in which its calls failed, even if no call is running by then', () => {
    const { clock, connect, call } = make(A50);
    const [a, b] = ['a', 'b'].map(connect);
    clock.advance(60_000);
    burst(call, 20);
    clock.advance(9_999);
    expect(a!.isIncluded).toBe(true);
    clock.advance(1);
    expect([a!.isIncluded, b!.isIncluded]).toEqual([false, true]);
  });

  it('drops counts below the minimum at the end of an interval of outlier detection', () => {
    const { clock, connect, call } = make(A50);
    const [a] = ['a', 'b'].map(connect);
    for (let round = 0; round < 5; round++) {
      burst(call, 19);
      clock.advance(60_000);
    }
    expect(a!.isIncluded).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it('adds up the failures of bursts that are further apart than the interval until they reach the minimum', () => {
    const { clock, connect, call } = make(RATES);
    const [a] = ['a', 'b'].map(connect);
    const included: boolean[] = [];
    for (let round = 0; round < 10; round++) {
      if (a!.isIncluded) burst(call, 2);
      clock.advance(1_000);
      included.push(a!.isIncluded);
      if (!a!.isIncluded) break;
      clock.advance(9_000);
    }
    expect(included).toEqual([...Array.from({ length: 9 }, () => true), false]);
  });

  it('judges failures that are counted while no call is running', () => {
    const { clock, endpoints, connect } = make({
      ...A50,
      failurePercentage: { ...RATES.failurePercentage!, minimumAttempts: 1 },
    });
    const [a] = ['a', 'b'].map(connect);
    clock.advance(60_000);
    endpoints.connectionLost('a');
    endpoints.ended({ ...ATTEMPT, peer: 'b' });
    clock.advance(10_000);
    expect(a!.isIncluded).toBe(false);
    clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });
});
