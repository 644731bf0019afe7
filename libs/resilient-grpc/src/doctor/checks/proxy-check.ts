import type { CheckResult } from '../check-result.js';
import type { Env } from '../doctor-options.js';
import { targetUri } from '../resolve-target.js';

const VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;

/**
 * Reports an HTTP proxy from the environment that grpc-js uses. Detects it from the target that grpc-js derived, so that the exception
 * rules of grpc-js apply. Returns `undefined` if no proxy is used.
 */
export function proxyCheck(target: string, canonicalTarget: string, env: Env): CheckResult | undefined {
  const proxy = targetUri(canonicalTarget).path;
  if (proxy === targetUri(target).path || canonicalTarget.endsWith(target)) return undefined;
  const variable = VARIABLES.find((name) => (env[name] ?? '') !== '');
  return {
    check: 'proxy',
    status: 'warning',
    message: `connections go through the proxy ${proxy}, set by ${variable ?? 'the environment'}`,
    remedy:
      'add the host to no_proxy if the server is in your own network; otherwise check that the proxy allows CONNECT',
    facts: { proxy, variable },
  };
}
