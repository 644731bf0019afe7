import { beforeEach, describe, expect, it } from 'vitest';
import type { EndpointSlice } from '../policy/kubernetes/select-endpoints.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { ServiceWatch, type WatchDependencies, type WatchState } from './service-watch.js';

const MINUTE_MS = 60_000;

const makeSlice = (name: string, resourceVersion: string): EndpointSlice => ({
  metadata: { name, resourceVersion },
  addressType: 'IPv4',
  ports: [{ name: 'grpc', port: 50_051 }],
  endpoints: [{ addresses: ['10.0.0.1'] }],
});

/** An open watch that the test controls. */
interface OpenWatch {
  readonly parameters: URLSearchParams;
  end(): void;
  fail(error: Error): void;
  send(event: object): void;
}

/** An API server in virtual time. A request succeeds unless the test sets an error for it. */
class VirtualApiServer {
  readonly url = 'https://api';
  readonly lists: URLSearchParams[] = [];
  readonly watches: OpenWatch[] = [];
  items: readonly EndpointSlice[] | null = [makeSlice('a', '7')];
  listError: Error | undefined;
  watchError: Error | undefined;
  /** Called after a watch has opened. An exception fails the watch, as in `ApiServer`. */
  onWatch: ((watch: OpenWatch) => void) | undefined;

  get(path: string): Promise<unknown> {
    this.lists.push(new URL(path, this.url).searchParams);
    if (this.listError !== undefined) return Promise.reject(this.listError);
    return Promise.resolve({ metadata: { resourceVersion: '9' }, items: this.items });
  }

  watch(...[path, signal, , onOpen, onEvent]: Parameters<WatchDependencies['server']['watch']>): Promise<void> {
    if (this.watchError !== undefined) return Promise.reject(this.watchError);
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        fail(new Error('aborted'));
      };
      const end = (): void => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const fail = (error: Error): void => {
        signal.removeEventListener('abort', abort);
        reject(error);
      };
      signal.addEventListener('abort', abort);
      const watch = { parameters: new URL(path, this.url).searchParams, end, fail, send: onEvent };
      this.watches.push(watch);
      onOpen();
      this.onWatch?.(watch);
    });
  }
}

describe('ServiceWatch', () => {
  let clock: VirtualClock;
  let server: VirtualApiServer;
  let watch: ServiceWatch;
  let states: WatchState[];
  const getNewestState = () => states.at(-1);
  const namesOf = (state: WatchState | undefined) => state?.slices?.map(({ metadata }) => metadata?.name);
  const getDistinctStates = () =>
    states.map(({ state }) => state).filter((state, index, all) => state !== all[index - 1]);
  const listener = {
    onChange: (state: WatchState): void => {
      states.push(state);
    },
  };

  beforeEach(() => {
    clock = new VirtualClock();
    server = new VirtualApiServer();
    states = [];
    watch = new ServiceWatch({ service: 'orders', namespace: 'shop' }, { server, clock, random: () => 0.5 });
  });

  it('ignores an EndpointSlice list that arrives after its watch was stopped and a new watch was started', async () => {
    const lists: ((list: object) => void)[] = [];
    server.get = () => new Promise((resolve) => lists.push(resolve));
    watch.subscribe(listener)();
    watch.subscribe(listener);
    lists[0]!({ metadata: { resourceVersion: '3' }, items: [makeSlice('old', '3')] });
    await clock.advanceAsync(0);
    expect(states).toEqual([]);
    expect(watch.describe()).toMatchObject({ state: 'listing', slices: undefined, changedAt: undefined });
    lists[1]!({ metadata: { resourceVersion: '9' }, items: [makeSlice('new', '9')] });
    await clock.advanceAsync(0);
    expect(namesOf(getNewestState())).toEqual(['new']);
  });

  it('does not report an EndpointSlice watch as open if the watch was stopped before its response was read', async () => {
    const opened: (() => void)[] = [];
    server.watch = (_path, _signal, _silentMs, onOpen) => {
      opened.push(onOpen);
      return new Promise(() => undefined);
    };
    const stop = watch.subscribe(listener);
    await clock.advanceAsync(0);
    stop();
    server.get = () => new Promise(() => undefined);
    watch.subscribe(listener);
    opened[0]!();
    expect(watch.describe()).toMatchObject({ state: 'listing', slices: undefined });
  });

  it('reports no failure for a whole day if each EndpointSlice watch ends or is reset after 5 minutes', async () => {
    watch.subscribe(listener);
    for (let minutes = 0; minutes < 24 * 60; minutes += 5) {
      await clock.advanceAsync(5 * MINUTE_MS);
      // Alternates between a clean end and a reset. A load balancer in front of the API server may reset connections.
      if (minutes % 2 === 0) server.watches.at(-1)!.end();
      else server.watches.at(-1)!.fail(new Error('read ECONNRESET'));
      await clock.advanceAsync(1_000);
    }
    expect(getDistinctStates()).toEqual(['listing', 'watching']);
    expect(server.lists).toHaveLength(1);
    expect(server.watches.length).toBeGreaterThan(280);
  });

  it('reports a failed EndpointSlice watch when its retry also fails, keeps the slices, and reports the recovery', async () => {
    watch.subscribe(listener);
    await clock.advanceAsync(MINUTE_MS);
    server.watchError = new Error('connect ECONNREFUSED');
    server.watches[0]!.fail(new Error('read ECONNRESET'));
    await clock.advanceAsync(500);
    const since = clock.epoch();
    expect(getNewestState()).toMatchObject({
      state: 'failing',
      since,
      failure: { message: 'cannot watch EndpointSlices at https://api: connect ECONNREFUSED' },
    });
    expect(namesOf(getNewestState())).toEqual(['a']);
    await clock.advanceAsync(10 * MINUTE_MS);
    expect(getNewestState()).toMatchObject({ state: 'failing', since });
    server.watchError = undefined;
    await clock.advanceAsync(30_000);
    expect(getNewestState()).toMatchObject({ state: 'watching', failure: undefined });
    expect(server.watches.at(-1)!.parameters.get('resourceVersion')).toBe('9');
    expect(server.lists).toHaveLength(1);
  });

  it('retries failing requests to the API server two to four times a minute after 10 minutes of failures', async () => {
    server.listError = new Error('connect ECONNREFUSED');
    watch.subscribe(listener);
    await clock.advanceAsync(10 * MINUTE_MS);
    const before = server.lists.length;
    await clock.advanceAsync(60 * MINUTE_MS);
    expect(server.lists.length - before).toBeGreaterThanOrEqual(120);
    expect(server.lists.length - before).toBeLessThanOrEqual(240);
    expect(getNewestState()).toMatchObject({ state: 'failing', slices: undefined });
  });

  it('accepts an EndpointSlice list whose `items` is null', async () => {
    server.items = null;
    watch.subscribe(listener);
    await clock.advanceAsync(0);
    expect(getNewestState()).toMatchObject({ state: 'watching', slices: [] });
  });

  it('stops the EndpointSlice watch when the last listener unsubscribes, and later uses the old slices only if listing fails', async () => {
    const unsubscribe = watch.subscribe(listener);
    await clock.advanceAsync(0);
    unsubscribe();
    await clock.advanceAsync(MINUTE_MS);
    expect(clock.pending).toBe(0);
    server.listError = new Error('connect ECONNREFUSED');
    watch.subscribe(listener);
    expect(watch.describe()).toMatchObject({ state: 'listing', slices: undefined });
    await clock.advanceAsync(0);
    expect(getNewestState()).toMatchObject({ state: 'failing' });
    expect(namesOf(getNewestState())).toEqual(['a']);
  });

  it('discards the EndpointSlices if the watch starts again more than 10 minutes after it stopped', async () => {
    watch.subscribe(listener)();
    await clock.advanceAsync(0);
    watch.subscribe(listener)();
    await clock.advanceAsync(10 * MINUTE_MS + 1);
    server.listError = new Error('connect ECONNREFUSED');
    watch.subscribe(listener);
    await clock.advanceAsync(0);
    expect(getNewestState()).toMatchObject({ state: 'failing', slices: undefined });
  });
});
