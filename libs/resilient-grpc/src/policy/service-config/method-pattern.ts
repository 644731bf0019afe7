/**
 * Returns the specificity with which `pattern` matches a method, or `undefined` if it does not match; a higher number is more
 * specific. Patterns are 'Get', 'Orders/Get', and 'orders.v1.Orders/Get', each also with a prefix of the method name ('Get*',
 * 'Orders/Get*') or with '*'. The method takes precedence over the service: 'Get' wins over 'orders.v1.Orders/*'.
 */
export function matchMethodPattern(pattern: string, service: string, method: string): number | undefined {
  const slash = pattern.indexOf('/');
  const serviceRank = slash < 0 ? 0 : rankService(pattern.slice(0, slash), service);
  const methodRank = rankMethod(pattern.slice(slash + 1), method);
  if (serviceRank === undefined || methodRank === undefined) return undefined;
  return methodRank * SERVICE_RANKS + serviceRank;
}

const SERVICE_RANKS = 3;
// Greater than the length of any method name.
const EXACT = 1_000_000;

function rankService(pattern: string, service: string): number | undefined {
  if (pattern === service) return 2;
  return pattern === service.slice(service.lastIndexOf('.') + 1) ? 1 : undefined;
}

function rankMethod(pattern: string, method: string): number | undefined {
  if (pattern === method) return EXACT;
  if (!pattern.endsWith('*')) return undefined;
  const beginning = pattern.slice(0, -1);
  return method.startsWith(beginning) ? beginning.length : undefined;
}
