import { DEFAULT_CLIENT_SETTINGS, MIN_KEEPALIVE_TIME_MS } from '../../client/settings/client-options.js';
import { duration } from '../../telemetry/log/log-text.js';
import { resultsOf, type CheckResult, type Verdict } from '../check-result.js';
import type { PeerEnd } from '../idle-session.js';
import type { IdleOutcome } from '../measure-idle.js';

const { connectionIdleTimeoutMs: CLIENT_IDLE_TIMEOUT_MS } = DEFAULT_CLIENT_SETTINGS;
/** Minimum of `connectionIdleTimeoutMs`, in milliseconds. */
const MIN_IDLE_TIMEOUT_MS = 1_000;
/** Share of a measured time that is used in recommendations, because timeouts vary. */
const SAFE_SHARE = 0.8;

const CLIENT_CLOSES_FIRST = `clients of this library close an idle connection first, after ${duration(CLIENT_IDLE_TIMEOUT_MS)} (connectionIdleTimeoutMs)`;

/** Reports the measured outcome for idle connections, with the recommended settings. */
export function idleCheck(outcome: IdleOutcome, limitMs: number): CheckResult {
  const result = resultsOf('idle', { limitMs, outcome: factsOf(outcome), ...settingsFor(outcome) });
  switch (outcome.kind) {
    case 'kept':
      return result('ok', `connections that were idle for ${duration(limitMs)} still work; no setting is required`);
    case 'closed':
      return result(...closedVerdict(outcome));
    case 'dropped':
      return result(...droppedVerdict(outcome));
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

function closedVerdict({ idleMs, end }: Extract<IdleOutcome, { kind: 'closed' }>): Verdict {
  const message = `idle connections are closed after ${duration(idleMs)} (${describeEnd(end)})`;
  if (end.how === 'goaway') return ['ok', `${message}; no call is lost, and the next call opens a connection`];
  if (CLIENT_IDLE_TIMEOUT_MS <= idleMs * SAFE_SHARE) return ['ok', `${message}; ${CLIENT_CLOSES_FIRST}`];
  const cause = 'a call sent as the connection closes is lost, because the peer sends no GOAWAY';
  return ['warning', `${message}; ${cause}`, recommendation(idleMs)];
}

function droppedVerdict({ answeredMs, lostMs, how }: Extract<IdleOutcome, { kind: 'dropped' }>): Verdict {
  const effect = how === 'silent' ? 'received no response' : 'was reset when it was used';
  const working = answeredMs === 0 ? '' : ` (one that was idle for ${duration(answeredMs)} still worked)`;
  const message = `a connection that was idle for ${duration(lostMs)} ${effect}${working}: a load balancer, NAT, or firewall has dropped it silently`;
  if (answeredMs === 0) return ['warning', message, `measure shorter times: --idle ${seconds(lostMs)}`];
  const pings =
    keepaliveFor(answeredMs) === undefined
      ? 'a stream without messages is dropped, too; send frequent heartbeat messages on quiet streams'
      : `for streams without messages, set keepalive: { keepaliveTimeMs: ${String(keepaliveFor(answeredMs))} } (check it with --keepalive ${seconds(keepaliveFor(answeredMs) ?? 0)})`;
  if (CLIENT_IDLE_TIMEOUT_MS <= answeredMs) return ['ok', `${message}; ${CLIENT_CLOSES_FIRST}`, pings];
  return ['warning', message, `${recommendation(answeredMs)}; ${pings}`];
}

function recommendation(idleMs: number): string {
  const timeoutMs = idleTimeoutFor(idleMs);
  return timeoutMs === undefined
    ? 'increase the idle timeout of the server, proxy, or firewall; it is too short for any connectionIdleTimeoutMs'
    : `set connectionIdleTimeoutMs to ${String(timeoutMs)} or less in the client, or increase the idle timeout of the server, proxy, or firewall`;
}

/** Returns machine-readable settings that would prevent the outcome. */
function settingsFor(outcome: IdleOutcome): Readonly<Record<string, number | undefined>> {
  const safeMs =
    outcome.kind === 'dropped' ? outcome.answeredMs : outcome.kind === 'closed' ? outcome.idleMs : undefined;
  if (safeMs === undefined) return {};
  return {
    connectionIdleTimeoutMs: idleTimeoutFor(safeMs),
    ...(outcome.kind === 'dropped' && { keepaliveTimeMs: keepaliveFor(safeMs) }),
  };
}

function idleTimeoutFor(idleMs: number): number | undefined {
  const ms = rounded(idleMs * SAFE_SHARE);
  return ms < MIN_IDLE_TIMEOUT_MS ? undefined : ms;
}

function keepaliveFor(idleMs: number): number | undefined {
  const ms = rounded(idleMs * SAFE_SHARE);
  return ms < MIN_KEEPALIVE_TIME_MS ? undefined : ms;
}

/** Rounds down to whole seconds, or to tenths of a second if `ms` is below 10 s. */
function rounded(ms: number): number {
  const unit = ms < 10_000 ? 100 : 1_000;
  return Math.floor(ms / unit) * unit;
}

/** Formats a time as an argument: '48s'. */
function seconds(ms: number): string {
  return `${String(rounded(ms) / 1_000)}s`;
}

function describeEnd({ how: ended, details }: PeerEnd): string {
  const name = { goaway: 'GOAWAY', fin: 'TCP FIN without GOAWAY', rst: 'TCP RST' }[ended];
  return details === undefined ? name : `${name}: ${details}`;
}

/** Returns the outcome with its times rounded to whole milliseconds. */
function factsOf(outcome: IdleOutcome): object {
  // `JSON.stringify` passes all nested numbers to the replacer.
  return JSON.parse(
    JSON.stringify(outcome, (_key, value: unknown) => (typeof value === 'number' ? Math.round(value) : value)),
  ) as object;
}
