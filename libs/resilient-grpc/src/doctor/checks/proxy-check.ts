import { proxyVariable } from '../../channel/connection/http-proxy.js';
import { resultsOf, type CheckResult } from '../check-result.js';
import type { Env } from '../doctor-options.js';
import { targetUri } from '../resolve-target.js';

/** The HTTP proxy that connections use. */
export interface UsedProxy {
  /** Host and port. */
  readonly proxy: string;
  /** Environment variable that sets the proxy. */
  readonly variable: string;
}

/** Remedy for a proxy that must not be used. grpc-js compares `no_proxy` with a list of addresses as if the list were one host. */
export const BYPASS_PROXY =
  'add the host of the target to no_proxy, or, for a list of addresses, set grpc.enable_http_proxy: 0 in channelOptions';

/**
 * Returns the HTTP proxy that grpc-js reads from the environment; `undefined` if no proxy is used. grpc-js's `no_proxy` rules apply,
 * because grpc-js replaces the path in `canonicalTarget` only if it uses the proxy. A path with an '@' is that of the target, because the
 * path of a proxy contains only a host and a port. Such a path can differ from the path in `target`, because credentials in
 * `canonicalTarget` are masked.
 */
export function proxyOf(target: string, canonicalTarget: string, env: Env): UsedProxy | undefined {
  const variable = proxyVariable(env);
  const proxy = targetUri(canonicalTarget).path;
  const isTarget = proxy === targetUri(target).path || canonicalTarget.endsWith(target) || proxy.includes('@');
  return variable === undefined || isTarget ? undefined : { proxy, variable };
}

/** Reports the proxy that connections use. */
export function proxyCheck({ proxy, variable }: UsedProxy): CheckResult {
  const message = `connections go through the proxy ${proxy}, set by ${variable}`;
  const remedy = `if the server is on your own network, ${BYPASS_PROXY}; otherwise check that the proxy allows CONNECT`;
  return resultsOf('proxy', { proxy, variable })('warning', message, remedy);
}
