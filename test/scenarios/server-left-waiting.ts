import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { NEVER, retry, startWith, takeWhile, timer } from 'rxjs';
import { NestServer } from '../server/support/nest-server.js';
import { certificate, startOrdersApp } from '../support/orders-app.js';
import { Feed } from './support/feed.js';
import { againstEach } from './support/kinds.js';
import { load, stop } from './support/load.js';
import { startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import { timed } from './support/timed.js';

/** A direction in which no bytes pass. */
type Way = 'to-upstream' | 'to-client';

const SESSIONS = 20;
const DEADLINE_MS = 1_000;
/** Keepalive of the servers, which close a connection if a ping is not answered. */
const [PING_MS, ANSWER_MS] = [1_000, 500];

/** All bytes to the server, or from it, are held back while handlers wait for the next request of their streams. */
export const serverLeftWaiting: Scenario = {
  name: 'server-left-waiting',
  promise:
    "If the network is cut in one direction, the server's keepalive detects the loss, and the server cancels the handlers that are waiting for requests. A server of this library or of grpcio detects the loss only if it receives no bytes from the client. The bounds are for pings every 1 s with a timeout of 0.5 s. Calls end at their own deadlines, and feeds resume without a gap.",
  bounds: {
    'time until the handlers are cancelled, ms': { atMost: PING_MS + ANSWER_MS + 1_000, timed: true },
    'handlers never cancelled': { atMost: 0 },
    'longest time from the deadline until the end of a call, ms': { atMost: 100, timed: true },
    'calls failed with another error': { atMost: 0 },
    // This bound applies only if the server closes the connection and the client detects the close.
    'time until the feed resumes, ms': { atMost: 5_000, timed: true },
    'feeds silent for 20 s': { atMost: 0, timed: true },
    'feeds not resumed': { atMost: 0 },
    'events lost or repeated': { atMost: 0 },
  },
  async measure(run) {
    // A short run omits 'to-client', which takes longer, because the client must detect the loss itself.
    const ways: readonly Way[] = run.length === 'short' ? ['to-upstream'] : ['to-upstream', 'to-client'];
    const parts = ways.map(async (way) => {
      const measured = await againstEach(run, (kind) => cut(run, way, () => startUpstreamServer(run, kind)));
      const own = Object.entries(await cut(run, way, () => startNestServer(run, way)));
      const named = Object.fromEntries(own.map(([figure, value]) => [`${figure} @ours`, value]));
      const entries = Object.entries({ ...measured, ...named });
      return entries.map(([figure, value]) => [`${figure}, ${way}`, value] as const);
    });
    return Object.fromEntries((await Promise.all(parts)).flat());
  },
};

interface Server {
  readonly url: string;
  readonly settings: object;
  /** True if the server closes a connection whose pings are unanswered, even if other bytes still arrive. */
  readonly isStrict: boolean;
  /** True if the server has a feed that can be resumed. */
  readonly hasFeed: boolean;
  /** Number of session handlers that have not ended. */
  waiting(): number | Promise<number>;
}

/** Starts a grpc-js or grpcio server. */
async function startUpstreamServer(run: Run, kind: UpstreamKind): Promise<Server> {
  const upstream = await startUpstream(run, kind, {
    serverOptions: {
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': ANSWER_MS,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.http2.max_pings_without_data': 0,
    },
  });
  const waiting = () => {
    const ended = upstream.arrived('ended').filter(({ key }) => key === 'Session').length;
    return upstream.arrived('Session').length - ended;
  };
  const isStrict = kind.implementation === 'grpc-js';
  return { url: upstream.url, settings: upstream.settings, isStrict, hasFeed: true, waiting };
}

/** Starts a server with the strategy of this library. */
async function startNestServer(run: Run, way: Way): Promise<Server> {
  const isTls = way === 'to-client';
  const keepalive = { keepaliveTimeMs: PING_MS, keepaliveTimeoutMs: ANSWER_MS };
  const server = run.closeAtEnd(await NestServer.start({ keepalive }, isTls ? ['--tls'] : []));
  return {
    url: server.url,
    settings: isTls ? { tls: { ca: certificate('ca'), serverName: 'localhost' } } : {},
    isStrict: false,
    hasFeed: false,
    waiting: async () => (await server.counts()).streams,
  };
}

async function cut(run: Run, way: Way, start: () => Promise<Server>): Promise<Measured> {
  const server = await start();
  const proxy = run.closeAtEnd(await FaultProxy.start(server.url));
  const app = run.closeAtEnd(await startOrdersApp({ ...server.settings, url: proxy.url, outageGraceMs: 60_000 }));
  const lateMs: number[] = [];
  const calls = load(run, 10, (number) =>
    timed(app.orders.get({ id: String(number) }, { timeoutMs: DEADLINE_MS }), DEADLINE_MS, (ms) => lateMs.push(ms)),
  );
  const feed = server.hasFeed ? Feed.follow(run, app) : undefined;
  let isCut = false;
  for (let id = 1; id <= SESSIONS; id++) {
    // The session sends one request and then no more.
    const requests = NEVER.pipe(startWith({ messageId: String(id), order: undefined }));
    // Reopens a session that ends before the cut, because a client on a busy machine may acknowledge a keepalive ping too late.
    const retryOptions = { delay: () => timer(10).pipe(takeWhile(() => !isCut)) };
    const session = app.orders
      .session(requests)
      .pipe(retry(retryOptions))
      .subscribe({ error: () => undefined });
    run.onEnd(() => {
      session.unsubscribe();
    });
  }
  await reach(async () => (await server.waiting()) === SESSIONS && feed?.events !== 0 && calls.succeeded.length > 10);

  isCut = true;
  const cutAt = performance.now();
  proxy.holdBytes(way);
  const heldEvents = feed?.events ?? 0;
  let notCancelled = SESSIONS;
  const areCancelled = async () => (notCancelled = await server.waiting()) === 0;
  const isResumed = () => feed === undefined || (feed.events > heldEvents && proxy.counters.accepted > 1);
  const [cancelledMs, resumedMs] = await Promise.all([areCancelled, isResumed].map((one) => timeUntil(cutAt, one)));
  await stop(calls);
  const failures = calls.failed.map(({ error }) => error as GrpcCallError);
  return {
    ...((server.isStrict || way === 'to-upstream') && {
      'time until the handlers are cancelled, ms': cancelledMs,
      'handlers never cancelled': notCancelled,
    }),
    'calls ended by the deadline': failures.filter(isDeadline).length,
    'longest time from the deadline until the end of a call, ms': Math.max(...lateMs),
    'calls failed with another error': failures.filter((error) => !isDeadline(error)).length,
    ...(feed !== undefined && {
      ...(way === 'to-upstream' && { 'time until the feed resumes, ms': resumedMs }),
      'feeds silent for 20 s': Number((resumedMs ?? Infinity) > 20_000),
      'feeds not resumed': Number(resumedMs === Infinity),
      'events lost or repeated': feed.lost + feed.repeated,
    }),
  };
}

/** Time from `since` until `condition` holds; Infinity if `reach` times out first. */
function timeUntil(since: number, condition: () => boolean | Promise<boolean>): Promise<number> {
  return reach(condition, { intervalMs: 20 }).then(
    () => performance.now() - since,
    () => Infinity,
  );
}

/** True if the call failed at its deadline, or because no retry could start before its deadline. */
function isDeadline({ reason, notRetriedBecause }: GrpcCallError): boolean {
  return reason === 'deadline' || notRetriedBecause === 'deadline';
}
