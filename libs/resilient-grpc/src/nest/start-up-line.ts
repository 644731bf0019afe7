import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import { LogLine } from '../telemetry/log/log-line.js';

const MAX_LISTED_METHODS = 12;
const NO_SAFE_METHOD = 'none';
const DECLARATION_HINT =
  'declare reads with idempotency_level in the proto, or with methods: { <method>: { idempotent: true } }';

/** Describes a client in one log line: target, services, methods that are safe to repeat and why, and outage grace period. */
export function startUpLine(settings: ResolvedClientSettings): LogLine {
  const { name: client, target } = settings;
  const services = [...settings.services.keys()].join(', ');
  const { outageGraceMs, connection } = settings.channel;
  const wait =
    outageGraceMs > 0
      ? `calls wait up to ${(outageGraceMs / 1_000).toFixed(1)} s during an outage`
      : 'calls do not wait during an outage';
  const safeToRepeat = describeSafeMethods(settings);
  const text = [
    `${target}${connection === 'warm' ? ' (warm)' : ''}`,
    services,
    `safe to repeat: ${safeToRepeat === NO_SAFE_METHOD ? `none (${DECLARATION_HINT})` : safeToRepeat}`,
    wait,
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
  const isQualified = settings.services.size > 1;
  const byReason = new Map<string, string[]>();
  let count = 0;
  for (const [service, methods] of settings.services) {
    for (const method of methods.values()) {
      const policy = settings.policies.get(method.path);
      if (policy?.safeToRepeat !== true) continue;
      count++;
      const name = isQualified ? `${service.slice(service.lastIndexOf('.') + 1)}/${method.method}` : method.method;
      byReason.set(policy.safeBecause, [...(byReason.get(policy.safeBecause) ?? []), name]);
    }
  }
  if (count === 0) return NO_SAFE_METHOD;
  return [...byReason].map(([reason, names]) => `${formatNames(names)} (${reason})`).join('; ');
}

function formatNames(names: readonly string[]): string {
  if (names.length <= MAX_LISTED_METHODS) return names.join(', ');
  return `${names.slice(0, MAX_LISTED_METHODS).join(', ')}, and ${String(names.length - MAX_LISTED_METHODS)} more`;
}
