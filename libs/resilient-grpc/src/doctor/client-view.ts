import type { GrpcClientSnapshot } from '../client/client-snapshot.js';

/** Assessment of a client, as on the dashboard. */
export interface Assessment {
  readonly tone: 'bad' | 'warn' | 'ok' | 'off';
  /** Severity; higher is worse. */
  readonly rank: number;
  readonly word: string;
  readonly sentence: string;
}

/** State of a client over several snapshots. */
export interface ClientView {
  readonly snapshot: GrpcClientSnapshot;
  takeWhole(snapshot: GrpcClientSnapshot): void;
  /** @param at time of the snapshot in milliseconds since 1970, by the clock of the application */
  take(snapshot: GrpcClientSnapshot, at: number): void;
  /** Returns the current rate of a counter per second; `undefined` before the second sample. */
  rateNow(counter: 'started' | 'failed'): number | undefined;
  assess(now: number): Assessment;
}

/** Fields of each sample of a client. Rates are computed from the samples. */
const FIELDS = ['at', 'started', 'succeeded', 'failed', 'waiting'];

/** The dashboard page's module for the assessment of clients. The terminal uses this module to show the same words as the page. */
const PAGE_MODULE = new URL('../../assets/dashboard/client-state.js', import.meta.url);

/** Loads the function that creates the state of a client. */
export async function loadClientView(): Promise<(key: string) => ClientView> {
  // The cast is safe: the tests of the dashboard and of this command run this module.
  const { ClientState } = (await import(PAGE_MODULE.href)) as {
    readonly ClientState: new (key: string, fields: readonly string[]) => ClientView;
  };
  return (key) => new ClientState(key, FIELDS);
}
