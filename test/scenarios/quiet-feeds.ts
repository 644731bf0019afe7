import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { replayUnacknowledged, resumable } from 'nestjs-resilient-grpc/operators';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { NEVER, type Observable } from 'rxjs';
import type { SessionReply, SessionRequest } from '../../src/gen/orders.pb.js';
import { NestServer, type PlainServerOptions } from '../server/support/nest-server.js';
import type { LogLine } from '../support/captured-log.js';
import { startOrdersApp, type OrdersOf } from '../support/orders-app.js';
import { outageGrace, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/** Lifetime of a call. */
const LIFE_MS = { counts: 2_000, all: 6_000 };
/** Value of `minHealthyMs`: the minimum that has an effect, or the default. */
const MIN_HEALTHY_MS = { counts: 1_000, all: undefined };
const RESUMES = { short: 5, full: 85 };
/** Grace period of calls on a connection that has reached its maximum age. */
const GRACE_MS = 100;

/** Silent feeds and sessions, whose calls a server or a proxy ends every 6 s, or every 2 s if only counts are judged. */
export const quietFeeds: Scenario = {
  name: 'quiet-feeds',
  promise:
    'If the call of a silent feed or session is ended every 6 s by an idle timeout, a maximum connection age, or a proxy, the next call starts within 500 ms each time. The feed or session never fails, and no warning about it is logged.',
  bounds: {
    'feeds and sessions that ended for their subscriber': { atMost: 0 },
    'warnings that a stream was not retried': { atMost: 0 },
    'fewest resumes of any stream': { atLeast: RESUMES.short },
    'longest time until the next call starts, ms': { atMost: 500, timed: true },
  },
  fullBounds: { 'fewest resumes of any stream': { atLeast: RESUMES.full } },
  async measure(run) {
    const lifeMs = LIFE_MS[run.which];
    const grpcio = run.kinds.find(({ implementation }) => implementation === 'grpcio');
    const age = { connections: { maxAgeMs: lifeMs, graceMs: GRACE_MS } };
    const idle = { maxStreamIdleMs: lifeMs };
    const parts = [
      follow(run, 'ours, idle', await startOurs(run, { methods: { Watch: idle, Session: idle } })),
      follow(run, 'ours, age', await startOurs(run, age)),
      follow(run, 'grpc-js, closing proxy', await startBehindClosingProxy(run, lifeMs)),
      ...(grpcio === undefined ? [] : [follow(run, 'grpcio, age', await startWithMaxAge(run, grpcio, lifeMs))]),
    ];
    return Object.assign({}, ...(await Promise.all(parts))) as Measured;
  },
};

type Way = Pick<GrpcClientSettings, 'url' | 'tls'>;

async function startOurs(run: Run, options: PlainServerOptions): Promise<Way> {
  const server = run.closeAtEnd(await NestServer.start(options));
  return { url: server.url };
}

const QUIET = { eventsEveryMs: 3_600_000 };

async function startBehindClosingProxy(run: Run, lifeMs: number): Promise<Way> {
  const upstream = await startUpstream(run, { implementation: 'grpc-js', security: 'plain' }, QUIET);
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  proxy.cutIdleAfter(lifeMs);
  return { url: proxy.url };
}

async function startWithMaxAge(run: Run, kind: UpstreamKind, lifeMs: number): Promise<Way> {
  const serverOptions = { 'grpc.max_connection_age_ms': lifeMs, 'grpc.max_connection_age_grace_ms': GRACE_MS };
  const upstream = await startUpstream(run, kind, { ...QUIET, serverOptions });
  return { url: upstream.url, ...upstream.settings };
}

/** Runs a feed and a session, each with its own client, so that neither keeps the connection of the other busy. */
async function follow(run: Run, name: string, way: Way): Promise<Measured> {
  const settings = { ...way, ...outageGrace(run) };
  const app = run.closeAtEnd(await startOrdersApp([settings, settings]));
  const [feed, session] = app.clients as [OrdersOf, OrdersOf];
  const pace = { minHealthyMs: MIN_HEALTHY_MS[run.which] };
  // Each call starts at 0, so that our server sends exactly one event per call. The event is new only in the first call. The calls are not
  // retried, because a retry would replace the resume if the server has sent no headers before its first event.
  const watch = () => feed.orders.watch({ from: '0' }, { retry: false });
  const send = (outgoing: AsyncIterable<SessionRequest>) => session.orders.session(outgoing);
  const id = ({ messageId }: SessionRequest | SessionReply) => messageId;
  const streams = [
    observe(run, feed, resumable(watch, { cursor: ({ sequence }) => BigInt(sequence), seed: 0n, ...pace })),
    observe(run, session, replayUnacknowledged(send, NEVER, { id, acknowledges: id, maxUnacknowledged: 1, ...pace })),
  ];
  const enough = RESUMES[run.length];
  // Waits longer than the sum of the lifetimes, because the connection age varies by ±10% and there is a short gap before each call.
  if (run.which === 'all') await pass(run, enough * (LIFE_MS.all + GRACE_MS) * 1.15);
  await reach(() => streams.every(({ gapsMs, ends }) => gapsMs.length >= enough || ends.length > 0));
  const figures = {
    'feeds and sessions that ended for their subscriber': streams.flatMap(({ ends }) => ends).length,
    'warnings that a stream was not retried': app.clients.flatMap(({ lines }) => lines.filter(isUnretried)).length,
    'fewest resumes of any stream': Math.min(...streams.map(({ gapsMs }) => gapsMs.length)),
    'longest time until the next call starts, ms': Math.max(...streams.flatMap(({ gapsMs }) => gapsMs)),
  };
  return Object.fromEntries(Object.entries(figures).map(([figure, value]) => [`${figure} @${name}`, value]));
}

const isUnretried = ({ level, text }: LogLine): boolean => level === 'warn' && text.includes('was not retried');

/** Subscribes to `stream`; records the delay before each resume, and each end of the stream. Any end breaks the promise. */
function observe(run: Run, { client }: OrdersOf, stream: Observable<unknown>) {
  const [gapsMs, ends]: [number[], unknown[]] = [[], []];
  const events = client.events$.subscribe((event) => {
    if (event.type === 'stream-resumed') gapsMs.push(event.gapMs);
  });
  const end = (how: unknown) => void ends.push(how);
  const subscription = stream.subscribe({ error: end, complete: () => end('completed') });
  run.onEnd(() => {
    subscription.unsubscribe();
    events.unsubscribe();
  });
  return { gapsMs, ends };
}
