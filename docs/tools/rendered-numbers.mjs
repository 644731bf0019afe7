import { constant } from './source-constants.mjs';

const CLIENT = 'client/settings/client-options.ts';
const CHANNEL = 'client/settings/resolve-channel-settings.ts';
const OUTAGE = 'policy/outage/next-outage.ts';
const RETRY = 'policy/retry/retry-policy.ts';
const BUDGET = 'policy/throttling/default-budget.ts';
const HEDGES = 'policy/hedging/hedge-budget.ts';
const BREAKER = 'policy/circuit-breaker/circuit-breaker-policy.ts';
const CIRCUIT = 'policy/circuit-breaker/next-circuit.ts';
const LIVE = 'client/settings/live-service-config.ts';
const BOUNDS = 'policy/service-config/document-bounds.ts';
const ADDRESSES = 'channel/connection/address-updates.ts';
const DNS = 'channel/dns/dns-service-config.ts';
const EARLY = 'policy/reconnect/early-reconnect.ts';
const BACKOFF = 'policy/reconnect/backoff.ts';
const CONNECT = 'policy/reconnect/connection-times.ts';
const MANAGED = 'channel/managed-channel.ts';
const REFRESH = 'policy/reconnect/dns-refresh-delay.ts';
const UPDATES = 'policy/reconnect/address-update-interval.ts';
const RELEASE = 'policy/queue-release/release-policy.ts';
const RESUME = 'policy/resume/resume-policy.ts';
const SUSPICION = 'policy/suspicion/suspicion-policy.ts';
const SERVER = 'server/server-options.ts';
const OVERLOAD = 'policy/overload/overload-queue.ts';
const STREAM_BATCHES = 'call/stream-batches.ts';

const ms = (value) => (value < 1_000 ? `${value} ms` : `${value / 1_000} s`);
const percent = (value) => `${value * 100}%`;
const times = (value) => `×${value}`;
const mebibytes = (value) => `${value / 1024 / 1024} MiB`;
const plain = (value) => value.toLocaleString('en-US');

/** Rows of the page: a heading alone, or the label of a number, its unit, its source file, and its name in that file. */
const NUMBERS = [
  ['Waiting'],
  ['outage grace period', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.outageGraceMs'],
  ['jitter of the outage grace period, ±', percent, CLIENT, 'OUTAGE_GRACE_JITTER'],
  ['calls that may wait during an outage', plain, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxWaitingCalls'],
  ['bytes of requests that may wait during an outage', mebibytes, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxWaitingBytes'],
  ['time in READY that ends an outage even without a response', ms, OUTAGE, 'DEFAULT_OUTAGE_POLICY.confirmMs'],
  ['a connection without a response counts as failed if it closes within', ms, BACKOFF, 'SHORT_LIVED_MS'],
  ['minimum number of outages that share one grace period', plain, OUTAGE, 'DEFAULT_OUTAGE_POLICY.flapCount'],
  ['period in which these outages occur', ms, OUTAGE, 'DEFAULT_OUTAGE_POLICY.flapWindowMs'],
  ['an outage is logged as a warning after', ms, 'telemetry/log/client-log.ts', 'OUTAGE_WARNING_DELAY_MS'],
  [
    'a slow connection attempt is logged as a warning after',
    ms,
    'channel/connection/connect-attempts.ts',
    'SLOW_CONNECT_MS',
  ],
  ['Release'],
  ['starting pace, share of the usual calls per second', percent, RELEASE, 'DEFAULT_RELEASE_POLICY.startShare'],
  ['minimum starting pace, calls per second', plain, RELEASE, 'DEFAULT_RELEASE_POLICY.minStartPerSecond'],
  ['starting pace without history, calls per second', plain, RELEASE, 'DEFAULT_RELEASE_POLICY.defaultStartPerSecond'],
  [
    'bound on the time from READY until every waiting call is sent, in outage grace periods',
    plain,
    RELEASE,
    'DEFAULT_RELEASE_POLICY.boundGraces',
  ],
  ['minimum of the bound', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.minBoundMs'],
  ['maximum of the bound, if no call has waited longer than 5 s', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.maxBoundMs'],
  ['growth of the pace per step', times, RELEASE, 'DEFAULT_RELEASE_POLICY.growth'],
  ['duration of a step', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.stepMs'],
  ['maximum growth while deadlines require it', times, RELEASE, 'DEFAULT_RELEASE_POLICY.urgentGrowth'],
  ['reduction of the pace', times, RELEASE, 'DEFAULT_RELEASE_POLICY.slowing'],
  ['minimum interval between two reductions', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.minSlowdownIntervalMs'],
  ['Reconnecting'],
  ['first backoff', ms, BACKOFF, 'FIRST_BACKOFF_MS'],
  ['jitter of the first backoff, ±', percent, BACKOFF, 'FIRST_BACKOFF_JITTER'],
  ['longest backoff', ms, BACKOFF, 'MAX_BACKOFF_MS'],
  ['early reconnect: first delay', ms, EARLY, 'FIRST_DELAY_MS'],
  ['early reconnect: longest delay', ms, EARLY, 'MAX_DELAY_MS'],
  ['early reconnect after a connect timeout', ms, EARLY, 'TIMEOUT_DELAY_MS'],
  ['early reconnect: jitter of these three delays, ±', percent, EARLY, 'JITTER'],
  ['early reconnect after a peer closes the connection or does not use HTTP/2', ms, EARLY, 'NOT_HTTP2_DELAY_MS'],
  ['early reconnect: jitter of this delay, ±', percent, EARLY, 'NOT_HTTP2_JITTER'],
  ['after connections that close immediately: first backoff', ms, BACKOFF, 'FIRST_BACKOFF_MS'],
  ['after connections that close immediately: longest backoff', ms, BACKOFF, 'MAX_BACKOFF_MS'],
  ['connect timeout', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.connectTimeoutMs'],
  ['growth of the connect timeout after each timeout', times, CONNECT, 'TIMEOUT_GROWTH'],
  ['longest connect timeout that results from this growth', ms, CONNECT, 'MAX_TIMEOUT_MS'],
  [
    'minimum interval between two name resolutions',
    ms,
    CHANNEL,
    'DEFAULT_CHANNEL_OPTIONS.grpc.dns_min_time_between_resolutions_ms',
  ],
  ['Connections'],
  [
    'idle time after which a channel closes its connections',
    ms,
    CLIENT,
    'DEFAULT_CLIENT_SETTINGS.connectionIdleTimeoutMs',
  ],
  ['idle time before TCP keepalive probes', ms, 'channel/quirks/connector.ts', 'TCP_KEEPALIVE_MS'],
  ['minimum interval between HTTP/2 pings', ms, CLIENT, 'MIN_KEEPALIVE_TIME_MS'],
  ['interval between checks of TLS files', ms, 'channel/tls/tls-credentials.ts', 'TLS_RELOAD_CHECK_MS'],
  ['Dead connections'],
  [
    'interval between checks for resets that Node misses',
    ms,
    'channel/connection/missed-reset-detector.ts',
    'POLL_INTERVAL_MS',
  ],
  ['timed-out calls before a probe', plain, SUSPICION, 'DEFAULT_SUSPICION_POLICY.timeouts'],
  ['minimum silence before a probe', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.silenceMs'],
  [
    'minimum silence, relative to the longest timed-out call',
    times,
    SUSPICION,
    'DEFAULT_SUSPICION_POLICY.silencePerCall',
  ],
  ['maximum random addition to the silence', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.spreadMs'],
  ['timeout of a probe', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.probeMs'],
  ['minimum interval between two probes', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.probeRestMs'],
  [
    'minimum interval from a PING to the next probe, except after the first PING',
    ms,
    SUSPICION,
    'DEFAULT_SUSPICION_POLICY.pingRestMs',
  ],
  ['maximum number of replacements', plain, SUSPICION, 'DEFAULT_SUSPICION_POLICY.maxReplacements'],
  ['period in which these replacements are counted', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.replacementWindowMs'],
  ['Retries'],
  ['maximum attempts, including the original', plain, RETRY, 'DEFAULT_RETRY_POLICY.maxAttempts'],
  ['first backoff', ms, RETRY, 'DEFAULT_RETRY_POLICY.initialBackoffMs'],
  ['longest backoff', ms, RETRY, 'DEFAULT_RETRY_POLICY.maxBackoffMs'],
  ['growth of the backoff', times, RETRY, 'DEFAULT_RETRY_POLICY.backoffMultiplier'],
  ['upper bound of `maxAttempts` in any policy', plain, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxAttemptsLimit'],
  ['budget: tokens', plain, BUDGET, 'DEFAULT_BUDGET_POLICY.maxTokens'],
  ['budget: tokens returned by a successful call', plain, BUDGET, 'DEFAULT_BUDGET_POLICY.perSuccess'],
  ['budget: tokens returned per second', plain, BUDGET, 'DEFAULT_BUDGET_POLICY.perSecond'],
  [
    'budget: share of the usable tokens that remains at each missed deadline after the first, until a call succeeds',
    percent,
    BUDGET,
    'DEFAULT_BUDGET_POLICY.leftByStall',
  ],
  ['budget: withheld tokens return after', ms, BUDGET, 'DEFAULT_BUDGET_POLICY.stallMs'],
  [
    'budget: period in which failures on one open connection count as one loss',
    ms,
    BUDGET,
    'DEFAULT_BUDGET_POLICY.togetherMs',
  ],
  [
    'period after the start of a retried inbound stream; calls that its handler makes in this period are retried only if they did not reach the server',
    ms,
    'policy/retry/retry-chain.ts',
    'STREAM_CHAIN_MS',
  ],
  ['Hedging'],
  ['hedges of slow calls, share of the calls that can be hedged', percent, HEDGES, 'DEFAULT_HEDGE_BUDGET.perCall'],
  ['hedges of slow calls allowed in addition to this share', plain, HEDGES, 'DEFAULT_HEDGE_BUDGET.maxTokens'],
  ['Circuit breaker'],
  ['share of failed attempts that opens the circuit', percent, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.failureRatio'],
  ['minimum number of attempts', plain, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.minimumThroughput'],
  ['sampling time', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.samplingDurationMs'],
  ['first open time', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.breakDurationMs'],
  [
    'longest open time (the open time doubles with each failed probe)',
    ms,
    BREAKER,
    'DEFAULT_CIRCUIT_BREAKER.maxBreakDurationMs',
  ],
  ['jitter of the open time, ±', percent, CIRCUIT, 'JITTER'],
  ['timeout of a probe without a result', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.probeTimeoutMs'],
  ['Concurrency limits'],
  ['calls that may be queued at one limit', plain, 'policy/concurrency/permit-queue.ts', 'DEFAULT_MAX_QUEUED'],
  ['Service config'],
  ['time that startup waits for the first service config', ms, LIVE, 'FIRST_SERVICE_CONFIG_TIMEOUT_MS'],
  ['interval between two reads of the DNS record', ms, DNS, 'DEFAULT_DNS_REFRESH_MS'],
  ['maximum number of characters', plain, BOUNDS, 'MAX_CONFIG_CHARACTERS'],
  ['maximum number of values', plain, BOUNDS, 'MAX_CONFIG_VALUES'],
  ['maximum depth of objects and lists', plain, BOUNDS, 'MAX_CONFIG_DEPTH'],
  ['maximum number of listed problems', plain, 'policy/options/option-problems.ts', 'MAX_PROBLEMS'],
  ['minimum interval between log lines of rejected updates', ms, 'telemetry/log/log-limiter.ts', 'LOG_INTERVAL_MS'],
  ['Addresses'],
  ['maximum number of addresses used per name', plain, ADDRESSES, 'MAX_ADDRESSES'],
  ['minimum interval between two updates', ms, UPDATES, 'MIN_INTERVAL_MS'],
  ['maximum interval after a slow update', ms, UPDATES, 'MAX_INTERVAL_MS'],
  ['maximum interval between updates without addresses', ms, UPDATES, 'MAX_EMPTY_INTERVAL_MS'],
  ['DNS lookups: interval, unless the policy is pick_first', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.dnsRefreshMs'],
  ['DNS lookups: jitter added to the interval, up to', percent, REFRESH, 'JITTER'],
  ['DNS lookups: maximum interval while they fail, if `dnsRefreshMs` is smaller', ms, REFRESH, 'MAX_FAILURE_DELAY_MS'],
  ['minimum interval between two changes of load balancing', ms, MANAGED, 'MIN_BALANCING_INTERVAL_MS'],
  ['Streams'],
  ['messages buffered for a slow `for await`', plain, CLIENT, 'DEFAULT_CLIENT_SETTINGS.prefetch'],
  [
    'request bytes that an Observable can push ahead of the connection',
    mebibytes,
    CLIENT,
    'DEFAULT_CLIENT_SETTINGS.maxQueuedRequestBytes',
  ],
  ['an unread stream is logged after', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.unreadStreamWarningMs'],
  ['`resumable`: first backoff', ms, RESUME, 'DEFAULT_RESUME_POLICY.initialBackoffMs'],
  ['`resumable`: longest backoff', ms, RESUME, 'DEFAULT_RESUME_POLICY.maxBackoffMs'],
  ['`resumable`: growth of the backoff', times, RESUME, 'DEFAULT_RESUME_POLICY.backoffMultiplier'],
  [
    '`resumable`: lifetime after which a call without progress resets the backoff',
    ms,
    RESUME,
    'DEFAULT_RESUME_POLICY.minHealthyMs',
  ],
  ['`resumable`: server failures at one cursor after which the stream fails', plain, RESUME, 'MAX_SERVER_FAILURES'],
  [
    '`resumable`: maximum repeated messages at the start of a call',
    plain,
    'policy/resume/cursor-track.ts',
    'MAX_OVERLAP',
  ],
  [
    '`resumable`: messages buffered from a source that cannot be paused',
    plain,
    'operators/plain-source.ts',
    'MAX_HELD_MESSAGES',
  ],
  [
    '`replayUnacknowledged`: minimum buffer for an Observable, messages',
    plain,
    'policy/replay/replay-ledger.ts',
    'MIN_MESSAGES',
  ],
  ['Shutdown'],
  ['drain timeout', ms, 'nest/module-options.ts', 'DEFAULT_DRAIN.timeoutMs'],
  ['streams ended per batch', plain, STREAM_BATCHES, 'STREAM_BATCH_SIZE'],
  ['interval between two batches', ms, STREAM_BATCHES, 'STREAM_BATCH_INTERVAL_MS'],
  ['Server'],
  ['interval between pings to a client', ms, SERVER, 'DEFAULT_SERVER_OPTIONS.keepaliveTimeMs'],
  ['timeout of these pings', ms, SERVER, 'DEFAULT_SERVER_OPTIONS.keepaliveTimeoutMs'],
  [
    'response bytes that an Observable can push ahead of its client',
    mebibytes,
    SERVER,
    'DEFAULT_SERVER_OPTIONS.maxQueuedResponseBytes',
  ],
  [
    'a handler that is still running is logged this long after its call ended',
    ms,
    SERVER,
    'DEFAULT_SERVER_OPTIONS.leakWarningMs',
  ],
  [
    'under overload, a call with a deadline may be refused if it would wait longer than',
    ms,
    OVERLOAD,
    'MAX_OVERLOAD_WAIT_MS',
  ],
  [
    'time without a refused or expired call after which an overload ends, if no call is queued',
    ms,
    OVERLOAD,
    'OVERLOAD_STAY_MS',
  ],
  ['streams ended per batch in a shutdown', plain, STREAM_BATCHES, 'STREAM_BATCH_SIZE'],
  ['interval between two batches', ms, STREAM_BATCHES, 'STREAM_BATCH_INTERVAL_MS'],
];

/** Returns Markdown: a heading and a table for each group of numbers. */
export function numberTables() {
  const lines = NUMBERS.flatMap(([label, unit, file, name]) =>
    unit === undefined
      ? ['', `## ${label}`, '', '| Number | Value |', '| --- | --- |']
      : [`| ${label} | ${unit(read(file, name))} |`],
  );
  return lines.join('\n').trim();
}

// Treats everything after the first dot of `name` as one key, because the keys of grpc-js's options contain a dot themselves.
function read(file, name) {
  const [variable, ...key] = name.split('.');
  const value = constant(file, variable);
  const found = typeof value === 'object' ? value[key.join('.')] : value;
  if (typeof found !== 'number')
    throw new Error(`${file}: expected a number ${name}, got ${found}; correct the row in docs/tools`);
  return found;
}
