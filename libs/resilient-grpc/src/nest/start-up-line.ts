import { shortName } from '../client/settings/contract.js';
import type { ResolvedMethodPolicy } from '../client/settings/resolve-method-policies.js';
import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import type { EventFields } from '../telemetry/log/library-logger.js';
import { listed } from '../telemetry/log/log-text.js';

const MAX_LISTED_METHODS = 12;
/** What the line says of a client that uses grpc-js's transport. */
const GRPC_JS =
  " (transport: grpc-js, so lost calls count as 'maybe', and ejection, endpoint health, and the replacement of dead connections are off)";
const KEYS_OFF = ', which is off (transport: grpc-js)';
const DECLARATION_HINT =
  'declare reads with idempotency_level in the proto, or with methods: { <method>: { idempotent: true } }';

/**
 * Describes a client in one log line: its target, its services, its methods that are safe to repeat (with reasons), and how long its calls
 * wait during an outage.
 */
export function startUpLine(settings: ResolvedClientSettings): readonly [text: string, fields: EventFields] {
  const { name: client, target } = settings;
  const { outageGraceMs, connection, transport } = settings.channel;
  const services = [...settings.services.keys()].join(', ');
  const safe = methodsBy(settings, (policy) => (policy.safeToRepeat ? policy.safeBecause : undefined));
  const safeToRepeat = [...safe].map(([reason, names]) => `${names} (${reason})`).join('; ') || 'none';
  const [keyed] = methodsBy(settings, ({ once }) => (once === undefined ? undefined : 'keys')).values();
  const once = keyed === undefined ? '' : ` | once: ${keyed}${transport === 'grpc-js' ? KEYS_OFF : ''}`;
  const hint = safe.size === 0 ? ` (${DECLARATION_HINT})` : '';
  const text =
    `${target}${connection === 'warm' ? ' (warm)' : ''}${transport === 'grpc-js' ? GRPC_JS : ''} | ${services} | safe to repeat: ${safeToRepeat}${hint}${once} | ` +
    describeWait(settings);
  return [
    text,
    {
      client,
      event: 'start-up',
      target,
      services,
      safeToRepeat,
      ...(keyed !== undefined && { once: keyed }),
      connection,
      transport,
      outageGraceMs: Math.round(outageGraceMs),
    },
  ];
}

function describeWait({ channel: { outageGraceMs }, policies }: ResolvedClientSettings): string {
  const wait = outageGraceMs > 0 ? `calls wait up to ${(outageGraceMs / 1_000).toFixed(1)} s` : 'calls do not wait';
  const isOverridden = [...policies.values()].some(({ waitForReady }) => waitForReady !== undefined);
  return `${wait} during an outage${isOverridden ? ', unless their method sets waitForReady' : ''}`;
}

/** Lists the names of the methods, grouped by the result of `keyOf`. Omits methods for which `keyOf` returns `undefined`. */
function methodsBy(
  { services, policies }: ResolvedClientSettings,
  keyOf: (policy: ResolvedMethodPolicy) => string | undefined,
): ReadonlyMap<string, string> {
  const groups = new Map<string, string[]>();
  for (const [service, methods] of services) {
    for (const { path, method } of methods.values()) {
      const policy = policies.get(path);
      const key = policy && keyOf(policy);
      if (key === undefined) continue;
      const name = services.size > 1 ? `${shortName(service)}/${method}` : method;
      groups.set(key, [...(groups.get(key) ?? []), name]);
    }
  }
  return new Map([...groups].map(([key, names]) => [key, listed(names, MAX_LISTED_METHODS)]));
}
