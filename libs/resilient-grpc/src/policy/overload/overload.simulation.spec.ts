import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { OverloadQueue, type WaitingCall, ServiceTime } from './overload-queue.js';

/** A call of a simulated load. */
interface Arrival {
  readonly at: number;
  readonly serviceMs: number;
  readonly deadline: number;
  readonly method: number;
}

type Result = 'in-time' | 'late' | 'refused' | 'expired';

class SimulatedCall implements WaitingCall<SimulatedCall> {
  order = 0;
  isRemoved = false;
  previous: SimulatedCall | undefined;
  next: SimulatedCall | undefined;
  weight = 0;
  variance = 0;

  constructor(
    readonly arrival: Arrival,
    readonly serviceTime: ServiceTime,
  ) {}

  get deadline(): number {
    return this.arrival.deadline;
  }

  get arrivedAt(): number {
    return this.arrival.at;
  }
}

/** Serves all calls in the order of their arrival, as Nest's server does. A call that ends after its deadline is 'late'. */
function servePlainly(load: readonly Arrival[]): Result[] {
  let freeAt = 0;
  return load.map(({ at, serviceMs, deadline }) => {
    freeAt = Math.max(freeAt, at) + serviceMs;
    return freeAt <= deadline ? 'in-time' : 'late';
  });
}

/**
 * Serves the calls of one process with an `OverloadQueue`.
 * @param cancelledMs milliseconds from the cancellation of a waiting call to its deadline; `undefined` if no call is cancelled
 * @param refusesUnread true if the queue can also refuse calls whose request is unread
 */
function serveWithQueue(
  load: readonly Arrival[],
  onEnd?: (arrival: Arrival, now: number) => void,
  cancelledMs?: number,
  refusesUnread = true,
): Result[] {
  const queue = new OverloadQueue<SimulatedCall>({ maxQueued: Infinity, maxSpeed: 1 });
  const times = new Map<number, ServiceTime>();
  const results = new Map<Arrival, Result>();
  const held: SimulatedCall[] = [];
  let now = 0;
  let next = 0;
  const timeOf = (method: number) => {
    const found = times.get(method) ?? new ServiceTime();
    times.set(method, found);
    return found;
  };
  const run = (arrival: Arrival) => {
    const endsAt = now + arrival.serviceMs;
    while (next < load.length && (load[next]?.at ?? Infinity) <= endsAt) {
      const arriving = load[next++];
      if (arriving !== undefined) hold(arriving);
    }
    now = endsAt;
    timeOf(arrival.method).note(arrival.serviceMs);
    onEnd?.(arrival, now);
    results.set(arrival, now <= arrival.deadline ? 'in-time' : 'late');
  };
  const hold = (arrival: Arrival) => {
    const call = new SimulatedCall(arrival, timeOf(arrival.method));
    const isRefused = refusesUnread && queue.refuses(call, arrival.at);
    if (isRefused || !queue.add(call, arrival.at)) results.set(arrival, 'refused');
    else if (cancelledMs !== undefined) held.push(call);
  };
  for (;;) {
    for (let call = held[0]; call !== undefined && call.deadline - (cancelledMs ?? 0) <= now; call = held[0]) {
      held.shift();
      queue.remove(call, now);
    }
    for (const call of queue.takeHopeless(now)) results.set(call.arrival, 'refused');
    const call = queue.take();
    if (call === undefined) {
      const arrival = load[next++];
      if (arrival === undefined) break;
      now = Math.max(now, arrival.at);
      run(arrival);
      continue;
    }
    const turn = queue.turnOf(call, now);
    if (turn === 'run') {
      run(call.arrival);
      queue.served(call, call.arrival.serviceMs, now);
    } else {
      results.set(call.arrival, turn === 'refuse' ? 'refused' : 'expired');
    }
  }
  return load.map((arrival) => results.get(arrival) ?? 'late');
}

/** Returns a load of one to four methods with random service times, deadlines, and bursts. */
function randomLoad(random: () => number, utilization: number): Arrival[] {
  const methods = Array.from({ length: 1 + Math.floor(random() * 4) }, (_, method) => ({
    method,
    meanMs: 0.5 * 100 ** random(),
    varies: random(),
    timeoutMs: random() < 0.2 ? Infinity : 50 * 40 ** random(),
    share: random() + 0.1,
  }));
  const shares = methods.reduce((sum, { share }) => sum + share, 0);
  const meanMs = methods.reduce((sum, method) => sum + (method.share / shares) * method.meanMs, 0);
  const burst = random() < 0.5 ? 1 : 1 + Math.floor(random() * 60);
  const load: Arrival[] = [];
  let at = 0;
  while (at < 10_000) {
    at += (-Math.log(1 - random()) * meanMs * burst) / utilization;
    for (let call = 0; call < burst; call++) {
      let drawn = random() * shares;
      const chosen = methods.find(({ share }) => (drawn -= share) <= 0) ?? methods[0];
      if (chosen === undefined) continue;
      const { method, meanMs, varies, timeoutMs } = chosen;
      const exponential = -Math.log(1 - random()) * meanMs;
      const serviceMs = meanMs * (1 - varies) + exponential * varies;
      load.push({ at, serviceMs, deadline: at + timeoutMs, method });
    }
  }
  return load;
}

describe('OverloadQueue in a simulated process', () => {
  it('serves in time every call that a server without an overload queue serves in time, in 1,000 random loads below capacity', () => {
    const failed = { without: 0, with: 0 };
    let wronglyFailed = 0;
    for (let seed = 1; seed <= 1_000; seed++) {
      const random = seededRandom(seed);
      const load = randomLoad(random, 0.2 + 0.75 * random());
      const plain = servePlainly(load);
      for (const [index, result] of serveWithQueue(load).entries()) {
        if (plain[index] !== 'in-time') failed.without += 1;
        if (result === 'in-time') continue;
        failed.with += 1;
        if (plain[index] === 'in-time') wronglyFailed += 1;
      }
    }
    expect(wronglyFailed).toBe(0);
    // In bursts above capacity, the queue refuses calls that cannot be served in time, so more of the other calls are served in time.
    expect(failed.with).toBeLessThan(0.8 * failed.without);
  });

  it.each([0.9, 1.2, 3])(
    'refuses the same calls whether the overload queue decides before or after their requests are read (load: %s times the capacity)',
    (factor) => {
      for (let seed = 1; seed <= 100; seed++) {
        const load = randomLoad(seededRandom(seed), factor);
        expect(serveWithQueue(load)).toEqual(serveWithQueue(load, undefined, undefined, false));
      }
    },
  );

  it.each([1.2, 2, 3, 10])(
    'serves calls in time at nearly full capacity if the load is %s times the capacity',
    (factor) => {
      const load = steadyLoad(factor);
      const results = serveWithQueue(load);
      const count = (wanted: Result) => results.filter((result) => result === wanted).length;
      expect(count('in-time') / CAPACITY).toBeGreaterThan(0.95);
      expect(count('late') + count('expired')).toBeLessThan(0.03 * CAPACITY);
      const withoutQueue = servePlainly(load).filter((result) => result === 'in-time').length;
      expect(withoutQueue / CAPACITY).toBeLessThan(factor > 2 ? 0.2 : 0.7);
    },
  );

  it('starts almost no handlers after the client deadline, which is up to 20 ms earlier than the server deadline', () => {
    const load = steadyLoad(3);
    let late = 0;
    const count = ({ deadline, serviceMs }: Arrival, now: number) => {
      if (now - serviceMs > deadline - 20) late += 1;
    };
    serveWithQueue(load, count);
    expect(late).toBeLessThan(0.0025 * CAPACITY);
    late = 0;
    // The cancellation reaches the server 10 ms before the deadline of the server, and up to 10 ms after the deadline of the client.
    serveWithQueue(load, count, 10);
    expect(late).toBeLessThan(0.0025 * CAPACITY);
  });

  it('keeps the latency below 130 ms for calls that are served in time after 2.5 s of overload', () => {
    const load = steadyLoad(3);
    const ends = new Map<Arrival, number>();
    const results = serveWithQueue(load, (arrival, now) => ends.set(arrival, now));
    const servedLater = load.filter(({ at }, index) => at > 2_500 && results[index] === 'in-time');
    expect(servedLater.length).toBeGreaterThan(1_000);
    expect(Math.max(...servedLater.map((arrival) => ends.get(arrival)! - arrival.at))).toBeLessThan(130);
  });
});

const SERVICE_MS = 5;
const DURATION_MS = 10_000;
/** Number of calls that a simulated process can serve in `DURATION_MS`. */
const CAPACITY = DURATION_MS / SERVICE_MS;

function steadyLoad(factor: number): Arrival[] {
  const random = seededRandom(7);
  const load: Arrival[] = [];
  for (let at = 0; at < DURATION_MS; at += (-Math.log(1 - random()) * SERVICE_MS) / factor) {
    load.push({ at, serviceMs: SERVICE_MS, deadline: at + 1_000, method: 0 });
  }
  return load;
}

describe('OverloadQueue.refuses', () => {
  /** Overloads the queue with a burst of 3,000 calls of 1 ms. Returns the service time of their method. */
  function overload(queue: OverloadQueue<SimulatedCall>): ServiceTime {
    const method = new ServiceTime();
    for (let index = 0; index < 100; index++) method.note(1);
    const burst = Array.from({ length: 3_000 }, () => callOf(method, 0));
    expect(burst.filter((call) => !queue.add(call, 0)).length).toBeGreaterThan(0);
    return method;
  }

  function callOf(method: ServiceTime, at: number): SimulatedCall {
    return new SimulatedCall({ at, serviceMs: 1, deadline: at + 1_000, method: 0 }, method);
  }

  /** Serves waiting calls until only `left` are waiting. Returns the current time. */
  function serveUntil(queue: OverloadQueue<SimulatedCall>, left: number): number {
    let now = 0;
    while (queue.size > left) {
      const call = queue.take();
      if (call === undefined || queue.turnOf(call, now) !== 'run') continue;
      now += 1;
      queue.served(call, 1, now);
    }
    return now;
  }

  it('accepts no more unread calls than the overload queue can add after their requests are read', () => {
    const queue = new OverloadQueue<SimulatedCall>({ maxQueued: Infinity, maxSpeed: 1 });
    const method = overload(queue);
    const now = serveUntil(queue, 50);
    const calls = Array.from({ length: 5_000 }, () => callOf(method, now));
    const accepted = calls.filter((call) => !queue.refuses(call, now));
    const added = accepted.filter((call) => queue.add(call, now));
    expect(accepted.length).toBeGreaterThan(25);
    expect(added).toHaveLength(accepted.length);
  });
});
