import type { EjectionPolicy } from '../../policy/ejection/ejection-policy.js';
import { readOutlierDetection } from '../../policy/ejection/outlier-detection.js';
import { isPolicyRegistered } from '../quirks/experimental.js';

type Policies = readonly Readonly<Record<string, unknown>>[];

/**
 * Replaces outlier detection in a `loadBalancingConfig` with its child policies. Also returns the rules of outlier detection, because this
 * library ejects endpoints itself. The first supported policy in the list is used, as in grpc-js.
 */
export function childPolicies(policies: Policies): {
  readonly policies: Policies;
  readonly ejection: EjectionPolicy | undefined;
} {
  for (const policy of policies) {
    const entry = readOutlierDetection(policy);
    if (entry === undefined) {
      if (isSupported(policy)) break;
    } else if (entry.ok) {
      return { policies: childPolicies(entry.childPolicy).policies, ejection: entry.ejection };
    }
  }
  return { policies, ejection: undefined };
}

function isSupported(policy: Readonly<Record<string, unknown>>): boolean {
  const [name = ''] = Object.keys(policy);
  return isPolicyRegistered(name) ?? true;
}
