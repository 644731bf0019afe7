import type { ResolvedClientSettings, ResolvedMethodPolicy } from '../client/settings/resolved-settings.js';
import { LogLine } from '../telemetry/log/log-line.js';

const MAX_LISTED_METHODS = 12;
const NO_SAFE_METHOD = 'none';
const DECLARATION_HINT =
  'declare reads with idempotency_level in the proto, or with methods: { <method>: { idempotent: true } }';

/**
 * Describes a client in one log line: its target, its services, its methods that are safe to repeat (with reasons), and how long its calls
 * wait during an outage.
 */
export function startUpLine(settings: ResolvedClientSettings): LogLine {
  const { name: client, target } = settings;
  const services = [...settings.services.keys()].join(', ');
  const { outageGraceMs, connection } = settings.channel;
  const safeToRepeat = describeSafeMethods(settings);
  const text = [
    `${target}${connection === 'warm' ? ' (warm)' : ''}`,
    services,
    `safe to repeat: ${safeToRepeat === NO_SAFE_METHOD ? `none (${DECLARATION_HINT})` : safeToRepeat}`,
    describeWait(settings),
  ].join(' | ');
  return new LogLine('log', text, {
    client,
    event: 'start-up',
    target,
    services,
    safeToRepeat,
    connection,
    outageGraceMs: Math.round(outageGraceMs),
  });
}

function describeSafeMethods(settings: ResolvedClientSettings): string {
  const byReason = methodsBy(settings, (policy) => (policy.safeToRepeat ? policy.safeBecause : undefined));
  if (byReason.size === 0) return NO_SAFE_METHOD;
  return [...byReason].map(([reason, names]) => `${formatNames(names)} (${reason})`).join('; ');
}

/**
 * Describes how long calls wait during an outage. If the methods differ, lists those whose calls wait until their deadline, and those whose
 * calls do not wait.
 */
function describeWait(settings: ResolvedClientSettings): string {
  const { outageGraceMs } = settings.channel;
  const byWait = methodsBy(settings, ({ waitForReady }) => String(waitForReady));
  const none = 'calls do not wait during an outage';
  const [only] = byWait.size === 1 ? byWait.keys() : [];
  if (only === 'true') return 'calls wait until their deadline during an outage';
  if (only === 'false') return none;
  const exceptions = [
    ['wait until their deadline', byWait.get('true')],
    ['do not wait', byWait.get('false')],
  ] as const;
  const listed = exceptions.flatMap(([how, names]) => (names === undefined ? [] : [`${how}: ${formatNames(names)}`]));
  const usual = outageGraceMs > 0 ? `calls wait up to ${(outageGraceMs / 1_000).toFixed(1)} s during an outage` : none;
  return listed.length === 0 ? usual : `${usual} (${listed.join('; ')})`;
}

/** Returns the names of the methods, grouped by the result of `keyOf`. Omits methods for which `keyOf` returns `undefined`. */
function methodsBy(
  { services, policies }: ResolvedClientSettings,
  keyOf: (policy: ResolvedMethodPolicy) => string | undefined,
): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const [service, methods] of services) {
    for (const { path, method } of methods.values()) {
      const policy = policies.get(path);
      const key = policy === undefined ? undefined : keyOf(policy);
      if (key === undefined) continue;
      const name = services.size > 1 ? `${service.slice(service.lastIndexOf('.') + 1)}/${method}` : method;
      groups.set(key, [...(groups.get(key) ?? []), name]);
    }
  }
  return groups;
}

function formatNames(names: readonly string[]): string {
  if (names.length <= MAX_LISTED_METHODS) return names.join(', ');
  return `${names.slice(0, MAX_LISTED_METHODS).join(', ')}, and ${String(names.length - MAX_LISTED_METHODS)} more`;
}
