import { type EndpointSlice, STABLE_MS, watchDelayMs } from '../policy/kubernetes/select-endpoints.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import {
  ApiServerError,
  requestFailure,
  slicesPath,
  type ApiServer,
  type RequestFailure,
  type ServiceName,
  type SliceList,
} from './api-server.js';

/** State of a watch. Times are milliseconds since 1970. */
export interface WatchState {
  readonly state: 'listing' | 'watching' | 'failing';
  readonly since: number;
  /** All slices of the service; `undefined` if they are unknown. Known slices are kept while requests are failing. */
  readonly slices: readonly EndpointSlice[] | undefined;
  /** Time of the last list or change; `undefined` before the first list. */
  readonly changedAt: number | undefined;
  /** Present while requests are failing. Failed requests are retried. */
  readonly failure: RequestFailure | undefined;
}

export interface WatchListener {
  onChange(state: WatchState): void;
}

export interface WatchDependencies {
  readonly server: Pick<ApiServer, 'get' | 'watch' | 'url'>;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Minimum of the random time in seconds after which the API server ends a watch. Minimum and maximum are those of client-go's reflector.
 */
const MIN_WATCH_SECONDS = 300;
const MAX_WATCH_SECONDS = 600;
/** Time without an event, in milliseconds, after which a watch is assumed to have lost its connection. */
const SILENT_WATCH_MS = 90_000;
/**
 * Time in milliseconds for which slices are kept after the last channel has closed or become idle, in case the API server is unreachable
 * when the watch restarts.
 */
const SLICE_RETENTION_MS = 600_000;
const GONE = 410;

interface WatchEvent {
  readonly type?: string;
  readonly object?: EndpointSlice & { readonly code?: number; readonly message?: string };
}

/**
 * Lists and watches the EndpointSlices of one service while there are listeners. All channels to the service share one watch. After an
 * error, the last slices stay in use, and the watch resumes from the last resource version or, after 410 Gone, from a new list.
 *
 * The official client library provides the configuration and the credentials. Its `ListWatch` is not used, because it stops at the first
 * error, restarts without a delay if the server ends each watch immediately, and requests no bookmarks. Its `Watch` is not used either,
 * because it discards exceptions thrown by the callback and the body of an error response.
 */
export class ServiceWatch {
  private readonly listeners = new Set<WatchListener>();
  /** Slices of the service by name; `undefined` until the first list, and after they were discarded as outdated. */
  private slices: Map<string, EndpointSlice> | undefined;
  /** Version of the last list or event; `undefined` until a list has returned, and after 410 Gone. */
  private resourceVersion: string | undefined;
  private running: AbortController | undefined;
  private stoppedAt = -Infinity;
  private state: WatchState = {
    state: 'listing',
    since: 0,
    slices: undefined,
    changedAt: undefined,
    failure: undefined,
  };
  /** Time at which the API server accepted the current watch. */
  private openedAt: number | undefined;
  /** True from a 410 Gone until the next list. */
  private isExpired = false;

  constructor(
    private readonly name: ServiceName,
    private readonly dependencies: WatchDependencies,
  ) {}

  /** Adds a listener; the first one starts the watch. Returns a function that removes the listener; the last removal stops the watch. */
  subscribe(listener: WatchListener): () => void {
    this.listeners.add(listener);
    if (this.running === undefined) this.start();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.stop();
    };
  }

  describe(): WatchState {
    return this.state;
  }

  private update(change: Partial<WatchState>): void {
    const { state = this.state.state } = change;
    const since = state === this.state.state ? this.state.since : this.dependencies.clock.epoch();
    this.state = { ...this.state, ...change, since };
    for (const listener of [...this.listeners]) listener.onChange(this.state);
  }

  private start(): void {
    const { clock } = this.dependencies;
    // Discards slices that were kept for longer than `SLICE_RETENTION_MS`, because their addresses may now belong to other pods.
    if (clock.now() - this.stoppedAt > SLICE_RETENTION_MS) this.slices = undefined;
    this.resourceVersion = undefined;
    // Slices of an earlier watch are used only if they cannot be listed again.
    this.state = { ...this.state, state: 'listing', since: clock.epoch(), slices: undefined, failure: undefined };
    const running = new AbortController();
    this.running = running;
    void this.run(running.signal);
  }

  private stop(): void {
    this.running?.abort();
    this.running = undefined;
    this.stoppedAt = this.dependencies.clock.now();
  }

  /** Lists and watches until `signal` is aborted. Never rejects. */
  private async run(signal: AbortSignal): Promise<void> {
    const { random } = this.dependencies;
    let isRelisted = false;
    for (let failures = 0; isActive(signal);) {
      this.openedAt = undefined;
      try {
        if (this.resourceVersion === undefined) await this.list(signal);
        await this.watch(signal);
        failures = this.isStable() ? 0 : failures + 1;
      } catch (error) {
        if (!isActive(signal)) return;
        failures = this.isStable() ? 0 : failures + 1;
        if (error instanceof ApiServerError && error.status === GONE) {
          this.resourceVersion = undefined;
          this.isExpired = true;
        } else if (failures > 0) {
          // The failure of a stable watch (`failures` is 0) is not reported: the next request shows whether the API server is reachable.
          this.failed(error);
        }
      }
      // Skips the delay after 410 Gone, because the slices are outdated, but never twice in a row.
      isRelisted = this.isExpired && !isRelisted;
      if (!isRelisted) await this.pause(watchDelayMs(failures, random), signal);
    }
  }

  private isStable(): boolean {
    return this.openedAt !== undefined && this.dependencies.clock.now() - this.openedAt >= STABLE_MS;
  }

  private async list(signal: AbortSignal): Promise<void> {
    // Omits version 0 after 410 Gone, because a list of version 0 comes from the API server's cache, which may be as outdated as the
    // expired watch.
    const url = slicesPath(this.name, this.isExpired ? {} : { resourceVersion: '0' });
    const { metadata, items } = (await this.dependencies.server.get(url, signal)) as SliceList;
    // Discards the response if the watch was stopped in the meantime, because a new watch may be running.
    signal.throwIfAborted();
    this.slices = new Map((items ?? []).map((slice) => [slice.metadata?.name ?? '', slice]));
    this.resourceVersion = metadata?.resourceVersion ?? '';
    this.isExpired = false;
    this.changed();
  }

  private watch(signal: AbortSignal): Promise<void> {
    const { server, random } = this.dependencies;
    const seconds = MIN_WATCH_SECONDS + Math.round((MAX_WATCH_SECONDS - MIN_WATCH_SECONDS) * random());
    const url = slicesPath(this.name, {
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: this.resourceVersion ?? '',
      timeoutSeconds: String(seconds),
    });
    // Headers and lines that were received earlier may be delivered after the watch was stopped, so both callbacks check `signal`.
    const opened = (): void => {
      if (!signal.aborted) this.opened();
    };
    return server.watch(url, signal, SILENT_WATCH_MS, opened, (event) => {
      if (!signal.aborted) this.apply(event as WatchEvent);
    });
  }

  private apply({ type, object }: WatchEvent): void {
    const name = object?.metadata?.name ?? '';
    if (type === 'ERROR') throw new ApiServerError(object?.code ?? 500, object?.message ?? 'the watch failed');
    if (object !== undefined && (type === 'ADDED' || type === 'MODIFIED')) this.slices?.set(name, object);
    else if (type === 'DELETED') this.slices?.delete(name);
    this.resourceVersion = object?.metadata?.resourceVersion ?? this.resourceVersion;
    if (type !== 'BOOKMARK') this.changed();
  }

  private get known(): WatchState['slices'] {
    return this.slices && [...this.slices.values()];
  }

  private changed(): void {
    this.update({ slices: this.known, changedAt: this.dependencies.clock.epoch() });
  }

  private opened(): void {
    this.openedAt = this.dependencies.clock.now();
    if (this.state.state !== 'watching') this.update({ state: 'watching', failure: undefined });
  }

  private failed(error: unknown): void {
    const failure = requestFailure(error, this.dependencies.server, this.name.namespace);
    this.update({ state: 'failing', slices: this.known, failure });
  }

  private pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.clear();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = this.dependencies.clock.setTimer(end, ms);
      signal.addEventListener('abort', end);
    });
  }
}

/** True until `signal` is aborted. This is a function, because the compiler would otherwise assume that the property does not change. */
function isActive(signal: AbortSignal): boolean {
  return !signal.aborted;
}
