import { proxyVariable } from '../../channel/connection/http-proxy.js';
import { resultsOf, type CheckResult } from '../check-result.js';
import type { Env } from '../doctor-options.js';
import { targetUri } from '../resolve-target.js';

/**
 * Reports the HTTP proxy that grpc-js reads from the environment. Compares the target with the one that grpc-js derived, so
 * that grpc-js's `no_proxy` rules apply. Returns `undefined` if no proxy is used.
 */
export function proxyCheck(target: string, canonicalTarget: string, env: Env): CheckResult | undefined {
  const proxy = targetUri(canonicalTarget).path;
  if (proxy === targetUri(target).path || canonicalTarget.endsWith(target)) return undefined;
  const variable = proxyVariable(env);
  const message = `connections go through the proxy ${proxy}, set by ${variable ?? 'the environment'}`;
  const remedy =
    'add the host to no_proxy if the server is on your own network; otherwise check that the proxy allows CONNECT';
  return resultsOf('proxy', { proxy, variable })('warning', message, remedy);
}
