import { faultsOf } from './client-state.js';
import { age, count, duration, momentAndAge, NONE, percent, shortPath } from './format.js';
import { el, Table } from './parts.js';

/** Meaning of each failure reason. */
export const REASONS = {
  server: 'status sent by the server',
  http: 'HTTP response that is not gRPC, from a proxy or web server',
  'connection-lost': 'connection or stream lost before the server sent a status',
  refused: 'refused by the server’s transport',
  outage: 'no connection; the call did not wait, or the grace period ended',
  'too-many-waiting': 'too many calls were waiting for a connection',
  'concurrency-limit': 'too many calls were running',
  'circuit-open': 'circuit breaker of the method is open',
  deadline: 'deadline exceeded',
  'attempt-timeout': 'last attempt timed out',
  'stream-idle': 'no message within the idle timeout',
  cancelled: 'cancelled by the caller',
  'inbound-cancelled': 'inbound call was cancelled',
  draining: 'client was draining',
  closed: 'client was closed',
  'not-sent': 'call could not be sent: options, size, serialization, metadata, credentials, or interceptor',
  'requests-overflow': 'request messages were emitted faster than they could be sent',
  protocol: 'invalid response',
  'in-doubt': 'nobody knows whether a write with a key was done',
  'trailers-missing': 'response without its status: a proxy drops HTTP/2 trailers',
  overloaded: 'refused by an overloaded server',
};

/** What the requests of a stream wait for. */
const STALLS = {
  'stream-limit': 'waiting for a free stream',
  'stream-window': 'server does not read',
  'connection-window': 'server reads nothing on the connection',
  socket: 'peer takes no bytes',
};

/** Creates a table. `itemsOf` reads the items of the table from a snapshot; if `itemsOf` returns `undefined`, the table is empty. */
function tableOf(itemsOf, options) {
  return Object.assign(new Table(options), { itemsOf: (snapshot) => itemsOf(snapshot) ?? [] });
}

const latency = (which) => ({
  title: which === 'maxMs' ? 'max' : which.slice(0, -2),
  note: 'From the start of a call to its response, including waits and retries; last 30 to 60 seconds',
  number: true,
  text: (method) => (method.latency === undefined ? NONE : duration(method.latency[which])),
  order: (method) => method.latency?.[which] ?? -1,
});
const number = (title, valueOf, note) => ({
  title,
  note,
  number: true,
  text: (item) => count(valueOf(item)),
  order: valueOf,
});
const SHORT_METHOD = { title: 'method', text: ({ path }) => shortPath(path), hint: ({ path }) => path, cell: 'path' };
const bad = (column, isBad) => ({ ...column, tone: (item) => (isBad(item) ? 'bad' : '') });

/** Creates the tables of calls: by method, by failure reason, by reason for not retrying, and by error. */
export function callTables() {
  return {
    methods: tableOf(({ methods }) => methods, {
      label: 'Methods',
      empty: 'No calls yet.',
      keyOf: ({ path }) => path,
      sortBy: 'calls',
      columns: [
        { title: 'method', text: ({ path }) => path, order: ({ path }) => path, cell: 'path' },
        { title: 'kind', text: ({ kind }) => kind, order: ({ kind }) => kind },
        number('calls', ({ started }) => started, 'Started since the client was created'),
        bad(
          number('failed', ({ failed }) => failed, 'Since the client was created'),
          ({ codes }) => faultsOf(codes) > 0,
        ),
        bad(
          {
            title: 'failed recently',
            note: 'Share of failed calls among those that ended in the last 30 to 60 seconds',
            number: true,
            text: ({ recent }) => percent(recent.failed, recent.ended),
            order: ({ recent }) => recent.failed / Math.max(recent.ended, 1),
          },
          ({ recent }) => faultsOf(recent.codes) > 0,
        ),
        number('retries', ({ retried }) => retried),
        number('hedges', ({ hedged }) => hedged),
        latency('p50Ms'),
        latency('p90Ms'),
        latency('p99Ms'),
        latency('maxMs'),
        {
          title: 'codes',
          text: ({ codes }) =>
            Object.entries(codes)
              .map(([code, times]) => `${code} ${count(times)}`)
              .join(', '),
        },
      ],
    }),
    failures: tableOf(
      ({ failures }) => failures && Object.entries(failures).map(([reason, times]) => ({ reason, times })),
      {
        label: 'Failed calls by reason',
        empty: 'No failed calls.',
        keyOf: ({ reason }) => reason,
        sortBy: 'failed',
        columns: [
          { title: 'reason', text: ({ reason }) => reason, order: ({ reason }) => reason, cell: 'path' },
          number('failed', ({ times }) => times),
          { title: 'meaning', text: ({ reason }) => REASONS[reason] ?? '', cell: 'wide' },
        ],
      },
    ),
    notRetried: tableOf(
      ({ notRetried }) => notRetried && Object.entries(notRetried).map(([why, times]) => ({ why, times })),
      {
        label: 'Why failed calls were not retried',
        empty: '',
        keyOf: ({ why }) => why,
        sortBy: 'times',
        columns: [
          { title: 'not retried because', text: ({ why }) => why, order: ({ why }) => why, cell: 'wide' },
          number('times', ({ times }) => times),
        ],
      },
    ),
    errors: tableOf(({ errors }) => errors?.toReversed(), {
      label: 'Last errors',
      empty: 'No failed calls.',
      keyOf: ({ path, code, reason }) => `${path} ${code} ${reason}`,
      columns: [
        { title: 'last', text: ({ lastAt }, now) => momentAndAge(lastAt, now), cell: 'moment' },
        number('times', ({ count: times }) => times),
        { title: 'code', text: ({ code }) => code, tone: ({ code }) => (faultsOf({ [code]: 1 }) > 0 ? 'bad' : '') },
        SHORT_METHOD,
        {
          title: 'details',
          text: ({ reason, details, peer }) => `${reason}: ${details}${peer ? ` (${peer})` : ''}`,
          cell: 'wide',
        },
      ],
    }),
  };
}

/** Health values of an endpoint that gets calls; `undefined` if its health is not checked. */
const USABLE = new Set([undefined, 'serving', 'unimplemented']);

/** Describes whether an endpoint gets calls, and the reason if it does not. */
function endpointText({ state, ejected, health, weight }, now) {
  if (ejected) return `ejected (${ejected.reason}) for ${duration(Math.max(0, Date.parse(ejected.until) - now))} more`;
  if (!USABLE.has(health)) return health;
  if (weight !== undefined && weight < 1) return `slow start, ${Math.round(weight * 100)}% of its share`;
  return health ?? (state === 'READY' ? 'in use' : NONE);
}

/** Describes the latencies that determine an adaptive limit. */
function limitLatency({ latencyMs, unloadedLatencyMs }) {
  if (unloadedLatencyMs === undefined) return 'measuring';
  const unloaded = `${duration(unloadedLatencyMs)} without load`;
  return latencyMs === undefined ? unloaded : `${duration(latencyMs)}, ${unloaded}`;
}

/** Creates the tables of connections, endpoints, outages, streams, circuit breakers, limits, and hedging delays. */
export function connectionTables() {
  return {
    connections: new Table({
      label: 'Connections',
      empty: 'No addresses: no call has needed one yet, or grpc-js manages the connections (xds:).',
      keyOf: ({ address }) => address,
      columns: [
        { title: 'address', text: ({ address }) => address, cell: 'path' },
        {
          title: 'state',
          text: ({ state }) => state,
          tone: ({ state }) => ({ READY: 'ok', TRANSIENT_FAILURE: 'bad', CONNECTING: 'warn' })[state],
        },
        { title: 'since', text: ({ since }, now) => momentAndAge(since, now), cell: 'moment' },
        {
          title: 'streams',
          number: true,
          text: ({ streams }) =>
            streams === undefined ? '' : `${streams.open}${streams.limit === undefined ? '' : ` of ${streams.limit}`}`,
          tone: ({ streams }) => (streams?.open >= streams?.limit ? 'warn' : ''),
        },
        number('ended', ({ ended }) => ended, 'Connections to this address that have ended'),
      ],
    }),
    endpoints: new Table({
      label: 'Endpoints',
      empty: 'No addresses.',
      keyOf: ({ address }) => address,
      columns: [
        { title: 'address', text: ({ address }) => address, cell: 'path' },
        { title: 'connection', text: ({ state }) => state },
        {
          title: 'calls',
          note: 'Ejection, reported health, or slow start',
          text: endpointText,
          tone: ({ ejected, health }) => (ejected || !USABLE.has(health) ? 'bad' : ''),
          cell: 'wide',
        },
        {
          title: 'share of attempts',
          note: 'Of the last 10 to 20 seconds',
          number: true,
          text: ({ share }) => (share === undefined ? NONE : `${Math.round(share * 100)}%`),
        },
        {
          title: 'latency',
          note: 'Median latency of recent unary attempts',
          number: true,
          text: ({ latencyMs }) => (latencyMs === undefined ? NONE : duration(latencyMs)),
        },
      ],
    }),
    outages: new Table({
      label: 'Past outages',
      empty: 'No outages yet.',
      keyOf: ({ since }) => since,
      columns: [
        { title: 'began', text: ({ since }, now) => momentAndAge(since, now), cell: 'moment' },
        { title: 'lasted', number: true, text: ({ durationMs }) => duration(durationMs) },
        number('waited', ({ waitedCalls }) => waitedCalls, 'Calls that waited during the outage'),
        bad(
          number('failed', ({ failedCalls }) => failedCalls, 'Calls that failed after waiting, or were rejected'),
          ({ failedCalls }) => failedCalls > 0,
        ),
        number('attempts', ({ connectAttempts }) => connectAttempts, 'Failed connection attempts'),
        { title: 'cause', text: ({ cause }) => cause, cell: 'wide' },
      ],
    }),
    streams: new Table({
      label: 'Open streams, oldest first',
      empty: 'No open streams.',
      // Two streams may be identical, so rows are keyed by position.
      keyOf: ({ position }) => position,
      columns: [
        SHORT_METHOD,
        { title: 'kind', text: ({ kind }) => kind },
        { title: 'open for', number: true, text: ({ startedAt }, now) => age(now - Date.parse(startedAt)) },
        {
          title: 'last message',
          number: true,
          text: ({ lastMessageAt, waiting, stalledBy }, now) =>
            waiting
              ? 'waiting for a connection'
              : stalledBy
                ? STALLS[stalledBy]
                : lastMessageAt
                  ? `${age(now - Date.parse(lastMessageAt))} ago`
                  : 'none yet',
          tone: ({ waiting, stalledBy }) => (waiting || stalledBy ? 'warn' : ''),
        },
        number('sent', ({ sent }) => sent),
        number('received', ({ received }) => received),
        number('resumed', ({ resumes }) => resumes ?? 0),
        { title: 'peer', text: ({ peer }) => peer ?? NONE, cell: 'path' },
        {
          title: 'opened at',
          text: ({ openedAt }) => openedAt ?? '',
          note: 'Requires the option traceStreams',
          cell: 'path',
        },
      ],
    }),
    moreStreams: el('p', { class: 'dim', hidden: true }),
    circuits: new Table({
      label: 'Circuit breakers',
      empty: 'No method has a circuit breaker.',
      keyOf: ({ path }) => path,
      columns: [
        { title: 'method', text: ({ path }) => path, cell: 'path' },
        {
          title: 'state',
          text: ({ state }) => state,
          tone: ({ state }) => ({ open: 'bad', 'half-open': 'warn' })[state] ?? 'ok',
        },
      ],
    }),
    limits: new Table({
      label: 'Concurrency limits',
      empty: 'No concurrency limits.',
      keyOf: ({ path }) => path ?? '',
      columns: [
        { title: 'scope', text: ({ path }) => path ?? 'the whole client', cell: 'path' },
        {
          title: 'running',
          number: true,
          text: ({ running, maxConcurrent }) => `${count(running)} of ${count(maxConcurrent)}`,
        },
        { ...number('queued', ({ queued }) => queued), tone: ({ queued }) => (queued > 0 ? 'warn' : '') },
        {
          title: 'latency',
          note: 'Mean latency that an adaptive limit follows',
          text: ({ adaptive }) => (adaptive === undefined ? 'fixed limit' : limitLatency(adaptive)),
        },
      ],
    }),
    hedgingDelays: new Table({
      label: 'Hedging delays that follow latency',
      empty: '',
      keyOf: ({ path }) => path,
      columns: [
        SHORT_METHOD,
        { title: 'percentile', text: ({ percentile }) => percentile },
        {
          title: 'delay',
          number: true,
          text: ({ delayMs }) => (delayMs === undefined ? 'measuring' : duration(delayMs)),
        },
      ],
    }),
  };
}
