import type { SuspicionPolicy } from './suspicion-policy.js';

/** Times of recent replacements, oldest first. */
export type Replacements = readonly number[];

/** Decision on whether to replace an unresponsive connection. Pass `replacements` to the next decision as `past`. */
export type ReplacementDecision =
  | { readonly replace: true; readonly replacements: Replacements }
  | { readonly replace: false; readonly because: 'too-many'; readonly replacements: Replacements };

/** Decides whether an unresponsive connection may be replaced at `now`. */
export function decideReplacement(past: Replacements, now: number, policy: SuspicionPolicy): ReplacementDecision {
  const replacements = past.filter((at) => now - at < policy.replacementWindowMs);
  const last = replacements.at(-1);
  if (last !== undefined && now - last < policy.oneReplacementMs) return { replace: true, replacements };
  if (replacements.length >= policy.maxReplacements) return { replace: false, because: 'too-many', replacements };
  return { replace: true, replacements: [...replacements, now] };
}
