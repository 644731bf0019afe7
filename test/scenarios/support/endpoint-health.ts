import { CallStarts } from './call-starts.js';
import { reach } from './reach.js';
import { pass } from './pass.js';
import type { Measured, Run } from './scenario.js';
import type { OrdersOf } from '../../support/orders-app.js';
import type { ServingStatus } from './upstream.js';

/** Maximum time after NOT_SERVING in which calls may still start on the server, in milliseconds. */
const MAX_REACTION_MS = 100;

/** A server whose health `stopServing` changes. */
interface CheckedServer {
  readonly url: string;
  setHealth(status: ServingStatus): void;
}

export const STOP_SERVING_BOUNDS = {
  'calls before NOT_SERVING': { atLeast: 1 },
  'calls later than 100 ms after NOT_SERVING': { atMost: 0, timed: true },
  'calls after the client received NOT_SERVING': { atMost: 0 },
  'calls after SERVING': { atLeast: 1 },
} as const;

/**
 * Makes `server` report NOT_SERVING. Makes it report SERVING again `ms` milliseconds after the client has received NOT_SERVING. Counts the
 * calls that start on `server`.
 */
export async function stopServing(run: Run, app: OrdersOf, server: CheckedServer, ms: number): Promise<Measured> {
  const starts = new CallStarts(app);
  const started = () => starts.on(server.url);
  const health = () => app.client.snapshot().connections.find(({ address }) => address === server.url)?.health;
  await reach(() => started().length > 0);
  const before = started().length;
  server.setHealth('NOT_SERVING');
  const from = Date.now() + MAX_REACTION_MS;
  await reach(() => health() === 'not-serving');
  const reportedAt = Date.now();
  await pass(run, ms);
  const until = Date.now();
  const during = started().slice();
  server.setHealth('SERVING');
  await reach(() => started().some((at) => at > until));
  return {
    'calls before NOT_SERVING': before,
    'calls later than 100 ms after NOT_SERVING': during.filter((at) => at >= from).length,
    'calls after the client received NOT_SERVING': during.filter((at) => at > reportedAt).length,
    'calls after SERVING': started().length - during.length,
  };
}
