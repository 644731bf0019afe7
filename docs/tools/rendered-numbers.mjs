import { constant } from './source-constants.mjs';

const CLIENT = 'client/settings/client-options.ts';
const CHANNEL = 'client/settings/resolve-channel-settings.ts';
const OUTAGE = 'policy/outage/outage-state.ts';
const RETRY = 'policy/retry/retry-policy.ts';
const BUDGET = 'policy/throttling/default-budget.ts';
const HEDGES = 'policy/hedging/hedge-budget.ts';
const BREAKER = 'policy/circuit-breaker/circuit-breaker-policy.ts';
const CIRCUIT = 'policy/circuit-breaker/next-circuit.ts';
const LIVE = 'client/settings/live-service-config.ts';
const BOUNDS = 'policy/service-config/document-bounds.ts';
const UPDATES = 'channel/connection/address-updates.ts';
const DNS = 'channel/dns/dns-service-config.ts';
const EARLY = 'policy/reconnect/early-reconnect.ts';
const SHORT_LIVED = 'policy/reconnect/short-lived-backoff.ts';
const CONNECT = 'policy/reconnect/connect-timeout.ts';
const RELEASE = 'policy/queue-release/release-policy.ts';
const RESUME = 'policy/resume/resume-policy.ts';
const SUSPICION = 'policy/suspicion/suspicion-policy.ts';
const SERVER = 'server/server-options.ts';
const REGISTRY = 'client/call/call-registry.ts';

const ms = (value) => (value < 1_000 ? `${value} ms` : `${value / 1_000} s`);
const percent = (value) => `${value * 100} %`;
const times = (value) => `×${value}`;
const mebibytes = (value) => `${value / 1024 / 1024} MiB`;
const plain = (value) => String(value);

/** What the table shows: heading, then what a number is, its unit, and where the source has it. */
const NUMBERS = [
  ['Waiting'],
  ['outage grace', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.outageGraceMs'],
  ['its spread among clients, ±', percent, CLIENT, 'OUTAGE_GRACE_JITTER'],
  ['calls that may wait in an outage', plain, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxWaitingCalls'],
  ['bytes of requests that may wait in an outage', mebibytes, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxWaitingBytes'],
  ['READY for so long ends an outage without an answer', ms, OUTAGE, 'DEFAULT_OUTAGE_POLICY.confirmMs'],
  ['a connection that lived shorter was a failed try', ms, OUTAGE, 'DEFAULT_OUTAGE_POLICY.shortLivedMs'],
  ['outages that share one grace', plain, OUTAGE, 'DEFAULT_OUTAGE_POLICY.flapCount'],
  ['when they come within', ms, OUTAGE, 'DEFAULT_OUTAGE_POLICY.flapWindowMs'],
  ['an outage is a warning when it is older than', ms, 'telemetry/log/outage-log.ts', 'OUTAGE_WARNING_DELAY_MS'],
  ['a slow attempt to connect is a warning after', ms, 'channel/outage/outage-watch.ts', 'SLOW_CONNECT_MS'],
  ['Release'],
  ['starts at this share of the usual calls per second', percent, RELEASE, 'DEFAULT_RELEASE_POLICY.startShare'],
  ['and at no less calls per second than', plain, RELEASE, 'DEFAULT_RELEASE_POLICY.startAtLeast'],
  ['and, for a client without history, than', plain, RELEASE, 'DEFAULT_RELEASE_POLICY.startWithoutUsual'],
  ['every held call is sent within this many outage graces', plain, RELEASE, 'DEFAULT_RELEASE_POLICY.boundGraces'],
  ['and within no less than', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.boundAtLeastMs'],
  [
    'and, if no call has waited for longer than 5 s, within no more than',
    ms,
    RELEASE,
    'DEFAULT_RELEASE_POLICY.boundAtMostMs',
  ],
  ['grows', times, RELEASE, 'DEFAULT_RELEASE_POLICY.growth'],
  ['each', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.stepMs'],
  ['while deadlines need it, up to', times, RELEASE, 'DEFAULT_RELEASE_POLICY.urgentGrowth'],
  ['slows down', times, RELEASE, 'DEFAULT_RELEASE_POLICY.slowing'],
  ['at most each', ms, RELEASE, 'DEFAULT_RELEASE_POLICY.slowAtMostEachMs'],
  ['Reconnecting'],
  ['backoff, first', ms, CHANNEL, 'FIRST_BACKOFF_MS'],
  ['its spread among clients, ±', percent, CHANNEL, 'FIRST_BACKOFF_JITTER'],
  ['backoff, longest', ms, CHANNEL, 'DEFAULT_CHANNEL_OPTIONS.grpc.max_reconnect_backoff_ms'],
  ['while somebody waits: first', ms, EARLY, 'FIRST_DELAY_MS'],
  ['while somebody waits: longest', ms, EARLY, 'MAX_DELAY_MS'],
  ['their spread, ±', percent, EARLY, 'JITTER'],
  ['while a call waits, after an answer that is not HTTP/2', ms, EARLY, 'AFTER_NO_HTTP2_MS'],
  ['its spread, ±', percent, EARLY, 'NO_HTTP2_JITTER'],
  ['after connections that die at once: first', ms, SHORT_LIVED, 'FIRST_BACKOFF_MS'],
  ['after connections that die at once: longest', ms, SHORT_LIVED, 'MAX_BACKOFF_MS'],
  ['connect timeout', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.connectTimeoutMs'],
  ['it grows with each that timed out', times, CONNECT, 'GROWTH'],
  ['up to', ms, CONNECT, 'MAX_TIMEOUT_MS'],
  [
    'names are resolved again at most each',
    ms,
    CHANNEL,
    'DEFAULT_CHANNEL_OPTIONS.grpc.dns_min_time_between_resolutions_ms',
  ],
  ['Connections'],
  ['closed when idle for', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.connectionIdleTimeoutMs'],
  ['TCP keepalive', ms, 'channel/quirks/connector.ts', 'TCP_KEEPALIVE_MS'],
  ['least time between HTTP/2 pings', ms, CLIENT, 'MIN_KEEPALIVE_TIME_MS'],
  ['TLS files are read again each', ms, 'channel/tls/tls-credentials.ts', 'TLS_RELOAD_CHECK_MS'],
  ['Dead connections'],
  [
    'ends of connections that Node overlooks: looked for each',
    ms,
    'channel/connection/missed-reset-detector.ts',
    'POLL_INTERVAL_MS',
  ],
  ['calls that ran into their time', plain, SUSPICION, 'DEFAULT_SUSPICION_POLICY.timeouts'],
  ['no byte came for', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.silenceMs'],
  ['or for the longest of them', times, SUSPICION, 'DEFAULT_SUSPICION_POLICY.silencePerCall'],
  ['and by chance up to', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.spreadMs'],
  ['to answer what it is asked it has', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.probeMs'],
  ['it is asked again at most each', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.probeRestMs'],
  ['replaced at most', plain, SUSPICION, 'DEFAULT_SUSPICION_POLICY.replacements'],
  ['within', ms, SUSPICION, 'DEFAULT_SUSPICION_POLICY.replacementWindowMs'],
  ['Retries'],
  ['attempts, the original included', plain, RETRY, 'DEFAULT_RETRY_POLICY.maxAttempts'],
  ['backoff, first', ms, RETRY, 'DEFAULT_RETRY_POLICY.initialBackoffMs'],
  ['backoff, longest', ms, RETRY, 'DEFAULT_RETRY_POLICY.maxBackoffMs'],
  ['it grows', times, RETRY, 'DEFAULT_RETRY_POLICY.backoffMultiplier'],
  ['most attempts any policy may ask for', plain, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxAttemptsLimit'],
  ['budget: tokens', plain, BUDGET, 'DEFAULT_BUDGET_POLICY.maxTokens'],
  ['budget: given back by a call that succeeds', plain, BUDGET, 'DEFAULT_BUDGET_POLICY.perSuccess'],
  ['budget: given back each second', plain, BUDGET, 'DEFAULT_BUDGET_POLICY.perSecond'],
  [
    'budget: left by the second deadline of a stall, and by each later one',
    percent,
    BUDGET,
    'DEFAULT_BUDGET_POLICY.leftByStall',
  ],
  ['budget: the rest returns after', ms, BUDGET, 'DEFAULT_BUDGET_POLICY.stallMs'],
  [
    'budget: attempts on one open connection that fail within this were one loss',
    ms,
    BUDGET,
    'DEFAULT_BUDGET_POLICY.togetherMs',
  ],
  [
    'a stream that is itself a retry stops retries for its first',
    ms,
    'policy/retry/retry-chain.ts',
    'CHAIN_STOP_STREAM_MS',
  ],
  ['Hedging'],
  ['hedges for slowness, share of calls', percent, HEDGES, 'DEFAULT_HEDGE_BUDGET.perCall'],
  ['and hedges more than that', plain, HEDGES, 'DEFAULT_HEDGE_BUDGET.maxTokens'],
  ['Circuit breaker'],
  ['opens when this share of attempts fails', percent, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.failureRatio'],
  ['of at least so many', plain, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.minimumThroughput'],
  ['within', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.samplingDurationMs'],
  ['first stays open for', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.breakDurationMs'],
  ['doubles with each probe that fails, up to', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.maxBreakDurationMs'],
  ['its spread, ±', percent, CIRCUIT, 'JITTER'],
  ['a probe without a verdict is given up after', ms, BREAKER, 'DEFAULT_CIRCUIT_BREAKER.probeTimeoutMs'],
  ['Concurrency limits'],
  ['calls that may be queued at one limit', plain, 'policy/concurrency/concurrency-policy.ts', 'DEFAULT_MAX_QUEUED'],
  ['Service config'],
  ['the start waits for the first one', ms, LIVE, 'FIRST_SERVICE_CONFIG_WITHIN_MS'],
  ['the record in DNS is read again each', ms, DNS, 'DEFAULT_DNS_REFRESH_MS'],
  ['characters of one', plain, BOUNDS, 'MAX_CONFIG_CHARACTERS'],
  ['values in one', plain, BOUNDS, 'MAX_CONFIG_VALUES'],
  ['objects and lists inside one another', plain, BOUNDS, 'MAX_CONFIG_DEPTH'],
  ['problems of one that are listed', plain, 'policy/service-config/problem.ts', 'MAX_PROBLEMS'],
  ['rejected updates are logged at most each', ms, LIVE, 'LOG_INTERVAL_MS'],
  ['Addresses'],
  ['addresses of a name that are used', plain, UPDATES, 'MAX_ADDRESSES'],
  ['updates of them are used at most each', ms, UPDATES, 'MIN_UPDATE_INTERVAL_MS'],
  ['after an update that took long, at the latest after', ms, UPDATES, 'MAX_UPDATE_INTERVAL_MS'],
  ['updates without an address, up to each', ms, UPDATES, 'MAX_EMPTY_INTERVAL_MS'],
  ['Streams'],
  ['messages held for a slow `for await`', plain, CLIENT, 'DEFAULT_CLIENT_SETTINGS.prefetch'],
  ['an Observable of requests may be ahead by', mebibytes, CLIENT, 'DEFAULT_CLIENT_SETTINGS.maxQueuedRequestBytes'],
  ['a stream that nobody reads is told after', ms, CLIENT, 'DEFAULT_CLIENT_SETTINGS.unreadStreamWarningMs'],
  ['`resumable`: backoff, first', ms, RESUME, 'DEFAULT_RESUME_POLICY.initialBackoffMs'],
  ['backoff, longest', ms, RESUME, 'DEFAULT_RESUME_POLICY.maxBackoffMs'],
  ['it grows', times, RESUME, 'DEFAULT_RESUME_POLICY.backoffMultiplier'],
  ['a call that lasts this long resets it', ms, RESUME, 'DEFAULT_RESUME_POLICY.minHealthyMs'],
  ['failures by the server at one cursor, of shorter calls, that end it', plain, RESUME, 'MAX_SERVER_FAILURES'],
  ['messages a call may begin with that were had already', plain, 'policy/resume/cursor-track.ts', 'MAX_OVERLAP'],
  ['messages held of what cannot be slowed, inside it', plain, 'operators/plain-source.ts', 'MAX_HELD'],
  [
    '`replayUnacknowledged`: messages held of an Observable, at least',
    plain,
    'policy/replay/buffer-limits.ts',
    'MIN_MESSAGES',
  ],
  ['Shutdown'],
  ['its whole time', ms, 'nest/module-options.ts', 'DEFAULT_DRAIN.timeoutMs'],
  ['streams that end at once', plain, REGISTRY, 'STREAM_BATCH_SIZE'],
  ['each', ms, REGISTRY, 'STREAM_BATCH_INTERVAL_MS'],
  ['Server'],
  ['pings towards clients', ms, SERVER, 'DEFAULT_SERVER_OPTIONS.keepaliveTimeMs'],
  ['to answer one they have', ms, SERVER, 'DEFAULT_SERVER_OPTIONS.keepaliveTimeoutMs'],
  ['an Observable of responses may be ahead by', mebibytes, SERVER, 'DEFAULT_SERVER_OPTIONS.maxQueuedResponseBytes'],
  ['a handler that outlives its call is told after', ms, SERVER, 'DEFAULT_SERVER_OPTIONS.leakWarningMs'],
  ['streams that end at once in its shutdown', plain, 'server/calls/server-calls.ts', 'STREAM_BATCH_SIZE'],
  ['each', ms, 'server/calls/server-calls.ts', 'STREAM_BATCH_INTERVAL_MS'],
];

/** Markdown of the table of numbers. */
export function numberTable() {
  const rows = NUMBERS.map(([what, unit, file, name]) =>
    unit === undefined ? `| **${what}** | |` : `| ${what} | ${unit(read(file, name))} |`,
  );
  return ['| What | How much |', '| --- | --- |', ...rows].join('\n');
}

// The keys of grpc-js's options have a point of their own.
function read(file, name) {
  const [variable, ...key] = name.split('.');
  const value = constant(file, variable);
  const found = typeof value === 'object' ? value[key.join('.')] : value;
  if (typeof found !== 'number') throw new Error(`${file} has no number ${name}; mend its place in docs/tools`);
  return found;
}
