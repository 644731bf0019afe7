/** Name of `least_request` in service configs (gRFC A48). */
export const LEAST_REQUEST_POLICY_NAME = 'least_request_experimental';

/** Default number of endpoints to compare (gRFC A48). */
const DEFAULT_CHOICE_COUNT = 2;
/** Maximum number of endpoints to compare; larger values are reduced to it (gRFC A48). */
const MAX_CHOICE_COUNT = 10;

/**
 * Reads `choiceCount`, the number of endpoints to compare, from the config of `least_request_experimental`.
 *
 * @throws Error if the value is invalid
 */
export function parseChoiceCount(config: unknown): number {
  if (typeof config !== 'object' || config === null)
    throw new Error(`expected an object, got ${JSON.stringify(config)}; write { choiceCount: 2 }`);
  const { choiceCount = DEFAULT_CHOICE_COUNT } = config as { readonly choiceCount?: unknown };
  if (!Number.isInteger(choiceCount) || (choiceCount as number) < 2)
    throw new Error(`choiceCount: expected an integer of 2 or more, got ${JSON.stringify(choiceCount)}`);
  return Math.min(choiceCount as number, MAX_CHOICE_COUNT);
}
