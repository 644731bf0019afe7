import * as v from 'valibot';
import type { Propagation } from '../../call/inbound-call.js';
import { RETRY_CHAIN_KEY } from '../../policy/retry/decide-retry.js';
import { ONCE_ASK, ONCE_BEFORE, ONCE_KEY, ONCE_SCOPE } from '../../policy/once/once-fields.js';
import type { PropagationOptions } from './client-options.js';
import { describeValue } from '../../policy/options/describe-value.js';
import { flag, object, rule } from '../../policy/options/option-schemas.js';

// These headers describe one connection, message, or call, and would be wrong if they were forwarded.
const RESERVED_KEYS = new Set([
  ...['connection', 'content-length', 'content-type', 'host', 'keep-alive', 'te', 'trailer', 'transfer-encoding'],
  ...['upgrade', 'user-agent', 'accept-encoding', 'content-encoding', 'expect', RETRY_CHAIN_KEY],
  ...[ONCE_KEY, ONCE_SCOPE, ONCE_BEFORE, ONCE_ASK],
]);

export const propagationSchema = object({
  deadline: v.optional(flag),
  cancellation: v.optional(flag),
  metadata: v.optional(v.array(v.pipe(v.string(), rule(keyProblem)))),
});

/**
 * Merges the client's propagation options over those of forRoot. Returns `undefined` if nothing is propagated, not even the retry-chain
 * key.
 */
export function resolvePropagation(
  root: PropagationOptions | undefined,
  own: false | PropagationOptions | undefined,
  dropped: Propagation['dropped'],
): Propagation | undefined {
  if (own === false || (root === undefined && own === undefined)) return undefined;
  return Object.freeze({
    deadline: own?.deadline ?? root?.deadline ?? false,
    cancellation: own?.cancellation ?? root?.cancellation ?? false,
    metadata: Object.freeze([...new Set((own?.metadata ?? root?.metadata ?? []).map((key) => key.toLowerCase()))]),
    dropped,
  });
}

function keyProblem(key: unknown): string | undefined {
  if (typeof key !== 'string') return undefined;
  const name = key.toLowerCase();
  if (!/^[0-9a-z_.-]+$/.test(name))
    return `expected a key of letters, digits, "_", ".", and "-", got ${describeValue(key)}`;
  if (name.startsWith('grpc-') || name.startsWith('proxy-') || RESERVED_KEYS.has(name)) {
    return `expected a key that can be forwarded, got '${key}', which describes a single connection, message, or call`;
  }
  return undefined;
}
