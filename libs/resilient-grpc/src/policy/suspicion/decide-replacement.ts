import type { SuspicionPolicy } from './suspicion-policy.js';

/** When replacements were made, oldest first. */
export type Replacements = readonly number[];

/** Whether a dead connection may be replaced. `replacements` has what is to be remembered. */
export type ReplacementDecision =
  | { readonly replace: true; readonly replacements: Replacements }
  | { readonly replace: false; readonly because: 'too-many'; readonly replacements: Replacements };

/** Decides at `now`. */
export function decideReplacement(past: Replacements, now: number, policy: SuspicionPolicy): ReplacementDecision {
  const replacements = past.filter((at) => now - at < policy.replacementWindowMs);
  const last = replacements.at(-1);
  if (last !== undefined && now - last < policy.oneReplacementMs) return { replace: true, replacements };
  if (replacements.length >= policy.replacements) return { replace: false, because: 'too-many', replacements };
  return { replace: true, replacements: [...replacements, now] };
}
