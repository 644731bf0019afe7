import type { CallLoad } from '../support/call-load.js';
import type { OrdersApp } from '../support/orders-app.js';
import { CallStarts } from './support/call-starts.js';
import { Feed } from './support/feed.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { MIXED_SERVERS_NEED, startMixedClient, startMixedServers } from './support/mixed-servers.js';
import { reach } from './support/reach.js';
import type { Run, Scenario } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const PER_SECOND = { counts: 50, all: 200 };
/** Latency of the servers, so that calls are in flight when the records change. */
const LATENCY_MS = 100;
/** Number of times each server is removed and added again. */
const ROUNDS = { short: 1, full: 5 };

/** The DNS records of grpcio, grpc-go, and grpc-js servers change in dnsmasq. */
export const mixedServersChange: Scenario = {
  name: 'mixed-servers-change',
  needs: MIXED_SERVERS_NEED,
  promise:
    'If grpcio, grpc-go, and grpc-js servers are added to a DNS name and removed from it, each added server receives calls within 2 s (if `dnsRefreshMs` is 1,000), and then its share of them. Calls on removed servers finish, no call fails, and no connection ends early.',
  bounds: {
    changes: { atLeast: 6 },
    'longest time until an added server receives a call, ms': { atMost: 2_000, timed: true },
    'smallest share of all calls sent to an added server, %': { atLeast: 30 },
    'calls to servers that were no longer in use': { atMost: 0 },
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'writes executed twice': { atMost: 0 },
    'feeds that ended on removed servers': { atMost: 0 },
    'events lost or repeated': { atMost: 0 },
    'connections ended early': { atMost: 0 },
  },
  measure: changeRecords,
};

async function changeRecords(run: Run) {
  const servers = await startMixedServers(run, { delayMs: LATENCY_MS });
  const app = await startMixedClient(run, servers);
  const starts = new CallStarts(app);
  let ended = 0;
  app.client.events$.subscribe((event) => {
    if (event.type === 'connection' && event.change === 'ended') ended += 1;
  });
  const [gets, creates] = [reads(run, app, PER_SECOND[run.which]), writes(run, app, PER_SECOND[run.which])];
  // Each server must serve exactly one feed.
  const feeds = servers.all.map(() => Feed.follow(run, app));
  await reach(() => servers.all.every((server) => server.arrived('Watch').length === 1), { intervalMs: 20 });
  const figures = { changes: 0, usedAfterMs: 0, late: 0 };
  const windows: Window[] = [];
  for (let round = 0; round < ROUNDS[run.length] && !run.signal.aborted; round++) {
    for (const server of servers.all) {
      const [before, events] = [gets.calls.length, feeds.map((feed) => feed.events)];
      servers.list(servers.all.filter((other) => other !== server));
      await reach(() => isRemoved(app, servers.all.length - 1));
      const removedAt = Date.now();
      await reach(() => gets.calls.length > before + PER_SECOND[run.which], { intervalMs: 20 });
      await reach(() => feeds.every((feed, index) => feed.end !== undefined || feed.events > events[index]! + 10));
      figures.late += starts.on(server.url).filter((at) => at > removedAt).length;
      servers.list(servers.all);
      const listedAt = Date.now();
      await reach(() => starts.on(server.url).some((at) => at > listedAt), { intervalMs: 5 });
      figures.usedAfterMs = Math.max(
        figures.usedAfterMs,
        Math.min(...starts.on(server.url).filter((at) => at > listedAt)) - listedAt,
      );
      windows.push({ server, ...(await waitForCalls(gets)) });
      figures.changes += 2;
    }
  }
  await Promise.all([stop(gets), stop(creates)]);
  return {
    changes: figures.changes,
    'longest time until an added server receives a call, ms': figures.usedAfterMs,
    'smallest share of all calls sent to an added server, %':
      Math.min(...windows.map(({ server, from, until }) => starts.share(server.url, from, until))) * 100,
    'calls to servers that were no longer in use': figures.late,
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'writes executed twice': servers.all.reduce((sum, server) => sum + server.duplicates('Create'), 0),
    'feeds that ended on removed servers': feeds.filter(({ end }) => end !== undefined).length,
    'events lost or repeated': feeds.reduce((sum, { lost, repeated }) => sum + lost + repeated, 0),
    'connections ended early': ended,
  };
}

function isRemoved({ client }: OrdersApp, addresses: number): boolean {
  return client.snapshot().resolution.addresses === addresses;
}

/** A period after a server was added, in milliseconds since 1970. */
interface Window {
  readonly server: Upstream;
  readonly from: number;
  readonly until: number;
}

/** Waits until 120 more reads have started, and returns the period in which they started. */
async function waitForCalls(gets: CallLoad): Promise<Pick<Window, 'from' | 'until'>> {
  const from = Date.now();
  const before = gets.calls.length;
  await reach(() => gets.calls.length >= before + 120, { intervalMs: 20 });
  return { from, until: Date.now() };
}
