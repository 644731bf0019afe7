import { faultsOf } from './client-state.js';
import { age, count, duration, momentAndAge, NONE, percent, shortPath } from './format.js';
import { el, Table } from './parts.js';

/** What a reason of a failure means, and whether the server may have seen the call. */
const REASONS = {
  server: 'the server’s own answer',
  'connection-lost': 'the connection broke after the request had been sent',
  refused: 'the server’s transport did not take it',
  outage: 'no connection for longer than the grace',
  'too-many-waiting': 'too many calls waited for a connection already',
  'concurrency-limit': 'too many calls ran at once already',
  'circuit-open': 'the circuit breaker of its method is open',
  deadline: 'its deadline came first',
  'attempt-timeout': 'its last attempt took too long',
  'stream-idle': 'no message for too long',
  cancelled: 'its caller ended it',
  'inbound-cancelled': 'whoever it was for had gone',
  draining: 'the client was draining',
  closed: 'the client was closed',
  protocol: 'the answer was not understood',
};

/** An item's tables know where their items are in a snapshot. */
function tableOf(itemsOf, options) {
  return Object.assign(new Table(options), { itemsOf: (snapshot) => itemsOf(snapshot) ?? [] });
}

const latency = (which) => ({
  title: which === 'maxMs' ? 'max' : which.slice(0, -2),
  note: 'From the begin of a call to its answer, waits and retries included; of the last 30 to 60 seconds',
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

/** Tables of calls: by method, by reason, by error. */
export function callTables() {
  return {
    methods: tableOf(({ methods }) => methods, {
      label: 'Methods',
      empty: 'No call yet.',
      keyOf: ({ path }) => path,
      sortBy: 'calls',
      columns: [
        { title: 'method', text: ({ path }) => path, order: ({ path }) => path, cell: 'path' },
        { title: 'kind', text: ({ kind }) => kind, order: ({ kind }) => kind },
        number('calls', ({ started }) => started, 'Begun since the client was made'),
        bad(
          number('failed', ({ failed }) => failed, 'Since the client was made'),
          ({ codes }) => faultsOf(codes) > 0,
        ),
        bad(
          {
            title: 'lately',
            note: 'Share that failed of those that ended in the last 30 to 60 seconds',
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
        empty: 'No call has failed.',
        keyOf: ({ reason }) => reason,
        sortBy: 'failed',
        columns: [
          { title: 'reason', text: ({ reason }) => reason, order: ({ reason }) => reason, cell: 'path' },
          number('failed', ({ times }) => times),
          { title: 'what it means', text: ({ reason }) => REASONS[reason] ?? '', cell: 'wide' },
        ],
      },
    ),
    notRetried: tableOf(
      ({ notRetried }) => notRetried && Object.entries(notRetried).map(([why, times]) => ({ why, times })),
      {
        label: 'Why failed calls had no further attempt',
        empty: '',
        keyOf: ({ why }) => why,
        sortBy: 'times',
        columns: [
          { title: 'no further attempt, because', text: ({ why }) => why, order: ({ why }) => why, cell: 'wide' },
          number('times', ({ times }) => times),
        ],
      },
    ),
    errors: tableOf(({ errors }) => errors?.toReversed(), {
      label: 'Last errors',
      empty: 'No call has failed.',
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

/** Tables of what lies below the calls, and of what bounds them. */
export function connectionTables() {
  return {
    connections: new Table({
      label: 'Connections',
      empty: 'It knows no address: none was needed yet, or it does not choose them itself.',
      keyOf: ({ address }) => address,
      columns: [
        { title: 'address', text: ({ address }) => address, cell: 'path' },
        {
          title: 'state',
          text: ({ state }) => state,
          tone: ({ state }) => ({ READY: 'ok', TRANSIENT_FAILURE: 'bad', CONNECTING: 'warn' })[state],
        },
        { title: 'since', text: ({ since }, now) => momentAndAge(since, now), cell: 'moment' },
        number('ended', ({ ended }) => ended, 'Connections to this address that have ended'),
      ],
    }),
    outages: new Table({
      label: 'Past outages',
      empty: 'No outage so far.',
      keyOf: ({ since }) => since,
      columns: [
        { title: 'began', text: ({ since }, now) => momentAndAge(since, now), cell: 'moment' },
        { title: 'lasted', number: true, text: ({ durationMs }) => duration(durationMs) },
        number('held', ({ waitedCalls }) => waitedCalls, 'Calls that waited in it'),
        bad(
          number('failed', ({ failedCalls }) => failedCalls, 'Calls that waited and failed, or were refused'),
          ({ failedCalls }) => failedCalls > 0,
        ),
        number('tries', ({ connectAttempts }) => connectAttempts, 'Failed attempts to connect'),
        { title: 'cause', text: ({ cause }) => cause, cell: 'wide' },
      ],
    }),
    streams: new Table({
      label: 'Streams that are open, the oldest first',
      empty: 'No stream is open.',
      // Two of them may be alike: a row is a place.
      keyOf: ({ place }) => place,
      columns: [
        SHORT_METHOD,
        { title: 'kind', text: ({ kind }) => kind },
        { title: 'open for', number: true, text: ({ startedAt }, now) => age(now - Date.parse(startedAt)) },
        {
          title: 'last message',
          number: true,
          text: ({ lastMessageAt, waiting }, now) =>
            waiting
              ? 'waits for a connection'
              : lastMessageAt
                ? `${age(now - Date.parse(lastMessageAt))} ago`
                : 'none yet',
          tone: ({ waiting }) => (waiting ? 'warn' : ''),
        },
        number('sent', ({ sent }) => sent),
        number('received', ({ received }) => received),
        number('resumed', ({ resumes }) => resumes ?? 0),
        { title: 'peer', text: ({ peer }) => peer ?? NONE, cell: 'path' },
        {
          title: 'opened at',
          text: ({ openedAt }) => openedAt ?? '',
          note: 'With the option traceStreams',
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
        { title: 'circuit of', text: ({ path }) => path, cell: 'path' },
        {
          title: 'is',
          text: ({ state }) => state,
          tone: ({ state }) => ({ open: 'bad', 'half-open': 'warn' })[state] ?? 'ok',
        },
      ],
    }),
    limits: new Table({
      label: 'Limits of calls at once',
      empty: 'No limit of calls at once.',
      keyOf: ({ path }) => path ?? '',
      columns: [
        { title: 'limit of', text: ({ path }) => path ?? 'the whole client', cell: 'path' },
        {
          title: 'running',
          number: true,
          text: ({ running, maxConcurrent }) => `${count(running)} of ${count(maxConcurrent)}`,
        },
        { ...number('queued', ({ queued }) => queued), tone: ({ queued }) => (queued > 0 ? 'warn' : '') },
      ],
    }),
  };
}
