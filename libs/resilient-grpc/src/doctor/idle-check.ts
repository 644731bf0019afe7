import { DEFAULT_CLIENT_SETTINGS, MIN_KEEPALIVE_TIME_MS } from '../client/settings/client-options.js';
import { counted, duration } from '../telemetry/log/log-text.js';
import { resultsOf, type CheckResult, type Verdict } from './check-result.js';
import { openSession, type ConnectParameters, type PeerEnd, type Session } from './connection.js';
import type { TargetAddress } from './target-check.js';
import { within } from './time-limit.js';
import { systemClock } from '../time/clock.js';
import { KEEPALIVE_PINGS } from './doctor-options.js';

/** A finding about idle connections. Times are in milliseconds since a connection first became idle. */
export type IdleOutcome =
  /** All connections answered a ping, up to the longest idle time. */
  | { readonly kind: 'kept'; readonly idleMs: number }
  /** The peer ends idle connections, but not those in use. */
  | { readonly kind: 'closed'; readonly idleMs: number; readonly end: PeerEnd }
  /**
   * Idle connections silently stop working. A connection that was idle for `answeredMs` still answered. A connection that was idle for
   * `lostMs` did not answer (`silent`) or was reset (`reset`). `answeredMs` is 0 if no connection answered.
   */
  | {
      readonly kind: 'dropped';
      readonly answeredMs: number;
      readonly lostMs: number;
      readonly how: 'silent' | 'reset';
    }
  | { readonly kind: 'ended-in-use'; readonly afterMs: number; readonly end: PeerEnd }
  | { readonly kind: 'unresponsive'; readonly afterMs: number }
  | { readonly kind: 'not-opened'; readonly message: string };

/**
 * Number of idle connections. Each is used once, at its own age, because using a connection restarts its idle timers on the server and on
 * each proxy.
 */
const CONNECTIONS = 12;
const STEP = Math.SQRT2;
/** Interval between two calls on the connection in use, as a share of the first age. */
const USE_SHARE = 0.25;
const MIN_USE_INTERVAL_MS = 250;
const MAX_USE_INTERVAL_MS = 10_000;
/** Time to wait, as a share of the measured time, to see whether the connection in use ends, too. */
const CONFIRMATION_SHARE = 0.25;
const MIN_CONFIRMATION_MS = 1_000;
const MAX_CONFIRMATION_MS = 30_000;
const PROGRESS_INTERVAL_MS = 1_000;

type IdleFinding =
  | { readonly kind: 'ended'; readonly end: PeerEnd; readonly wasUsed: boolean }
  | { readonly kind: 'silent'; readonly lostMs: number }
  | { readonly kind: 'kept' };

/**
 * Measures how long idle connections to `address` last, up to `limitMs`. A ping at each age finds connections that were dropped silently.
 * One more connection is used continuously, so that a maximum connection age, a restart, or a stuck server is not mistaken for an idle
 * timeout. Ends with the first finding.
 */
export async function measureIdle(
  address: TargetAddress,
  parameters: ConnectParameters,
  limitMs: number,
  onProgress: (text: string) => void,
): Promise<IdleOutcome> {
  const { connectTimeoutMs: answerTimeoutMs } = parameters;
  const open = () => openIdle(address, parameters);
  const opened = await Promise.all(Array.from({ length: CONNECTIONS + 1 }, open));
  const sessions = opened.filter((one) => typeof one !== 'string');
  try {
    const failure = opened.find((one) => typeof one === 'string');
    const [used, ...idle] = sessions;
    if (failure !== undefined || used === undefined) return { kind: 'not-opened', message: failure ?? 'no connection' };
    // The ages increase up to the limit.
    const ages = idle.map((_, index) => limitMs / STEP ** (CONNECTIONS - 1 - index));
    const inUse = useUntilEnd(used, (ages[0] ?? limitMs) * USE_SHARE, answerTimeoutMs);
    const longest = { answeredMs: 0 };
    const watched = idle.map(async (session, index): Promise<IdleFinding | undefined> => {
      const finding = await watchIdle(session, ages[index] ?? limitMs, answerTimeoutMs);
      if (typeof finding === 'object') return finding;
      longest.answeredMs = Math.max(longest.answeredMs, finding);
      return undefined;
    });
    const found = watched.map((one) => one.then((finding) => finding ?? new Promise<never>(() => undefined)));
    const kept = Promise.all(watched).then((): IdleFinding => ({ kind: 'kept' }));
    const either = Promise.race([inUse, kept, ...found]);
    const isOver = either.then(() => true);
    do {
      const elapsed = duration(Math.floor(used.idleMs / 1_000) * 1_000);
      const left = counted(idle.filter(({ isIdle }) => isIdle).length, 'connection');
      const { answeredMs } = longest;
      const last = answeredMs === 0 ? '' : `; last answer after ${duration(answeredMs)}`;
      onProgress(`idle for ${elapsed} of ${duration(limitMs)}: ${left} left${last}`);
    } while (!(await within(PROGRESS_INTERVAL_MS, isOver, false)));
    const finding = await either;
    const { answeredMs } = longest;
    if (typeof finding === 'string') return outcomeInUse(used, finding);
    if (finding.kind === 'kept') return { kind: 'kept', idleMs: limitMs };
    if (finding.kind === 'silent') {
      const answer = await used.call(answerTimeoutMs);
      if (answer !== 'answered') return outcomeInUse(used, answer);
      return { kind: 'dropped', answeredMs, lostMs: finding.lostMs, how: 'silent' };
    }
    const { end, wasUsed } = finding;
    const waitMs = Math.min(Math.max(end.afterMs * CONFIRMATION_SHARE, MIN_CONFIRMATION_MS), MAX_CONFIRMATION_MS);
    const other = await within(waitMs, inUse, undefined);
    if (other !== undefined) return outcomeInUse(used, other);
    // If other connections are still idle, the reset does not indicate an idle timeout of the peer, which would have closed them, too.
    if (wasUsed && end.how !== 'goaway' && idle.some(({ isIdle }) => isIdle))
      return { kind: 'dropped', answeredMs, lostMs: end.afterMs, how: 'reset' };
    return { kind: 'closed', idleMs: end.afterMs, end };
  } finally {
    // Ends all pending waits.
    for (const session of sessions) session.close();
  }
}

/** Opens a connection, or returns the reason why it cannot be used. */
async function openOrExplain(address: TargetAddress, parameters: ConnectParameters): Promise<Session | string> {
  const { session, probe } = await openSession(address, parameters);
  return session ?? probe.failure?.message ?? 'the certificate was rejected';
}

async function openIdle(address: TargetAddress, parameters: ConnectParameters): Promise<Session | string> {
  const session = await openOrExplain(address, parameters);
  if (typeof session === 'string') return session;
  // Makes a first call, because proxies apply different timeouts to connections that never carried a call. By default, clients have no such
  // connections.
  const answer = await session.call(parameters.connectTimeoutMs);
  session.rest();
  if (answer === 'answered') return session;
  session.close();
  return answer === 'ended'
    ? 'the connection was closed'
    : `no response within ${duration(parameters.connectTimeoutMs)}`;
}

/** Makes calls at an interval of about `everyMs`. Resolves when the connection ends or a call receives no response. */
async function useUntilEnd(session: Session, everyMs: number, answerTimeoutMs: number): Promise<'ended' | 'silent'> {
  const intervalMs = Math.min(Math.max(everyMs, MIN_USE_INTERVAL_MS), MAX_USE_INTERVAL_MS);
  for (;;) {
    await within<unknown>(intervalMs, session.over, undefined);
    const answer = await session.call(answerTimeoutMs);
    if (answer !== 'answered') return answer;
  }
}

const endOf = ({ end }: Session) => end;

/** Uses an idle connection at an age, and closes it. Returns its idle time if it still worked. */
async function watchIdle(session: Session, ageMs: number, answerTimeoutMs: number): Promise<IdleFinding | number> {
  await within<unknown>(ageMs - session.idleMs, session.over, undefined);
  const ended = endOf(session);
  if (ended !== undefined) return { kind: 'ended', end: ended, wasUsed: false };
  const { idleMs } = session;
  const answer = await session.ping(answerTimeoutMs);
  const end = endOf(session);
  if (answer !== 'answered') return end ? { kind: 'ended', end, wasUsed: true } : { kind: 'silent', lostMs: idleMs };
  session.close();
  return idleMs;
}

function outcomeInUse(used: Session, how: 'ended' | 'silent'): IdleOutcome {
  const { end, idleMs: afterMs } = used;
  // If the peer closed the connection before the first call of the measurement, its idle timeout is shorter than the interval between
  // calls.
  if (end !== undefined && used.isUnused) return { kind: 'closed', idleMs: end.afterMs, end };
  if (how === 'silent' || end === undefined) return { kind: 'unresponsive', afterMs };
  return { kind: 'ended-in-use', afterMs: end.afterMs, end };
}

const { idleMs: CLIENT_IDLE_TIMEOUT_MS } = DEFAULT_CLIENT_SETTINGS;
const MIN_IDLE_TIMEOUT_MS = 1_000;
/** Share of a measured time that is used in recommendations, because timeouts vary. */
const SAFE_SHARE = 0.8;

const CLIENT_CLOSES_FIRST = `clients of this library close an idle connection first, after ${duration(CLIENT_IDLE_TIMEOUT_MS)} (connections.idleMs)`;

export function idleCheck(outcome: IdleOutcome, limitMs: number): CheckResult {
  const settings = settingsFor(outcome);
  const result = resultsOf('idle', { limitMs, outcome, ...settings });
  switch (outcome.kind) {
    case 'kept':
      return result('ok', `connections that were idle for ${duration(limitMs)} still work; no setting is required`);
    case 'closed':
      return result(...closedVerdict(outcome, settings));
    case 'dropped':
      return result(...droppedVerdict(outcome, settings));
    case 'ended-in-use': {
      const { afterMs, end } = outcome;
      const message = `a connection in use was closed after ${duration(afterMs)} (${describeEnd(end)})`;
      const remedy = `the cause is a maximum connection age or a restart, not an idle timeout; measure a shorter time: --idle ${seconds(afterMs * SAFE_SHARE)}`;
      return result('warning', message, remedy);
    }
    case 'unresponsive': {
      const message = `a connection in use stopped responding after ${duration(outcome.afterMs)}`;
      return result('failed', message, 'check whether the server is stuck or was stopped, then measure again');
    }
    case 'not-opened':
      return result('skipped', `not checked: ${outcome.message}`);
  }
}

function closedVerdict({ idleMs, end }: Extract<IdleOutcome, { kind: 'closed' }>, settings: IdleSettings): Verdict {
  const message = `idle connections are closed after ${duration(idleMs)} (${describeEnd(end)})`;
  if (end.how === 'goaway') return ['ok', `${message}; no call is lost, and the next call opens a connection`];
  if (CLIENT_IDLE_TIMEOUT_MS <= idleMs * SAFE_SHARE) return ['ok', `${message}; ${CLIENT_CLOSES_FIRST}`];
  const cause = 'a call sent as the connection closes is lost, because the peer sends no GOAWAY';
  return ['warning', `${message}; ${cause}`, recommendation(settings)];
}

function droppedVerdict(
  { answeredMs, lostMs, how }: Extract<IdleOutcome, { kind: 'dropped' }>,
  settings: IdleSettings,
): Verdict {
  const effect = how === 'silent' ? 'received no response' : 'was reset when it was used';
  const working = answeredMs === 0 ? '' : ` (one that was idle for ${duration(answeredMs)} still worked)`;
  const message = `a connection that was idle for ${duration(lostMs)} ${effect}${working}: a load balancer, NAT, or firewall has dropped it silently`;
  if (answeredMs === 0) return ['warning', message, `measure shorter times: --idle ${seconds(lostMs)}`];
  const { keepaliveTimeMs: pingMs } = settings;
  const pings =
    pingMs === undefined
      ? 'a stream without messages is dropped, too; send frequent heartbeat messages on quiet streams'
      : `for streams without messages, set keepalive: { keepaliveTimeMs: ${String(pingMs)} } (check it with --keepalive ${seconds(pingMs)})`;
  if (CLIENT_IDLE_TIMEOUT_MS <= answeredMs) return ['ok', `${message}; ${CLIENT_CLOSES_FIRST}`, pings];
  return ['warning', message, `${recommendation(settings)}; ${pings}`];
}

function recommendation({ idleTimeoutMs }: IdleSettings): string {
  return idleTimeoutMs === undefined
    ? 'increase the idle timeout of the server, proxy, or firewall; it is too short for any connections.idleMs'
    : `set connections.idleMs to ${String(idleTimeoutMs)} or less in the client, or increase the idle timeout of the server, proxy, or firewall`;
}

interface IdleSettings {
  readonly idleTimeoutMs?: number | undefined;
  readonly keepaliveTimeMs?: number | undefined;
}

function settingsFor(outcome: IdleOutcome): IdleSettings {
  if (outcome.kind === 'closed') return { idleTimeoutMs: safeMs(outcome.idleMs, MIN_IDLE_TIMEOUT_MS) };
  if (outcome.kind !== 'dropped') return {};
  const { answeredMs } = outcome;
  return {
    idleTimeoutMs: safeMs(answeredMs, MIN_IDLE_TIMEOUT_MS),
    keepaliveTimeMs: safeMs(answeredMs, MIN_KEEPALIVE_TIME_MS),
  };
}

/** Returns a recommended time, or `undefined` if it is below the minimum of the option. */
function safeMs(idleMs: number, minMs: number): number | undefined {
  const ms = rounded(idleMs * SAFE_SHARE);
  return ms < minMs ? undefined : ms;
}

/** Rounds down to whole seconds, or to tenths of a second if `ms` is below 10 s. */
function rounded(ms: number): number {
  const unit = ms < 10_000 ? 100 : 1_000;
  return Math.floor(ms / unit) * unit;
}

function seconds(ms: number): string {
  return `${String(rounded(ms) / 1_000)}s`;
}

function describeEnd({ how: ended, details }: PeerEnd): string {
  const name = { goaway: 'GOAWAY', fin: 'TCP FIN without GOAWAY', rst: 'TCP RST' }[ended];
  return details === undefined ? name : `${name}: ${details}`;
}

const ACK_TIMEOUT_MS = 5_000;

/** Checks whether the server tolerates a ping every `everyMs` milliseconds, on a separate connection with an open call. */
export async function keepaliveCheck(
  address: TargetAddress,
  parameters: ConnectParameters,
  everyMs: number,
): Promise<CheckResult> {
  const session = await openOrExplain(address, parameters);
  if (typeof session === 'string') return resultsOf('keepalive')('skipped', `no connection: ${session}`);
  // Servers apply different ping limits to connections without calls. By default, clients send keepalive pings only during calls.
  const call = { isOpen: true };
  session.watch(() => (call.isOpen = false));
  const pings: Promise<number | undefined>[] = [];
  while (pings.length < KEEPALIVE_PINGS && (await within<string>(everyMs, session.over, 'time')) !== 'ended') {
    const sentAt = systemClock.now();
    const answer = session.ping(ACK_TIMEOUT_MS);
    pings.push(answer.then((how) => (how === 'answered' ? systemClock.now() - sentAt : undefined)));
  }
  const tookMs = (await Promise.all(pings)).filter((ms) => ms !== undefined);
  const { end } = session;
  session.close();
  const sent = pings.length;
  const slowestMs = Math.round(Math.max(0, ...tookMs));
  const facts = { everyMs, sent, acknowledged: tookMs.length, slowestMs, withCall: call.isOpen, end };
  const result = resultsOf('keepalive', facts);
  const pace = `${counted(sent, 'ping')}, one every ${duration(everyMs)}`;
  if (end?.how === 'goaway') {
    const isPlanned = end.code === 0;
    const how = `the server closed the connection${isPlanned ? ' cleanly' : ''} after ${pace}: GOAWAY ${end.details ?? ''}`;
    const remedy = isPlanned
      ? 'the usual cause is a maximum connection age or a restart; try again, or use a shorter ping interval'
      : 'increase keepalive.keepaliveTimeMs in the client (most servers allow 300000), disable keepalive, or permit this interval on the server (EnforcementPolicy)';
    return result(isPlanned ? 'warning' : 'failed', how.trim(), remedy);
  }
  if (end !== undefined) {
    const remedy = 'check the log of the server, or of a proxy in front of it';
    return result('failed', `the connection was closed after ${pace}`, remedy);
  }
  if (tookMs.length < sent) {
    const remedy =
      'check whether the server process is frozen; a client with this keepalive would close the connection';
    return result('failed', `${String(tookMs.length)} of ${pace}, were acknowledged`, remedy);
  }
  const alone = call.isOpen ? '' : ', without an open call';
  const raised =
    everyMs < MIN_KEEPALIVE_TIME_MS
      ? `; clients of this library wait at least ${duration(MIN_KEEPALIVE_TIME_MS)} between pings`
      : '';
  return result('ok', `${pace}${alone}: all acknowledged within ${duration(slowestMs)}${raised}`);
}
