import { lookup } from 'node:dns/promises';
import type { experimental } from '@grpc/grpc-js';
import { lacksPort } from '../channel/channel-checks.js';
import { addressKey } from '../channel/connection/address-key.js';
import { targetUri } from '../channel/quirks/secure-connector.js';
import { proxyVariable } from '../channel/connection/http-proxy.js';
import { dnsNameOf } from '../channel/dns/dns-refresh.js';
import { experimental as names } from '../channel/quirks/experimental.js';
import { errorMessage } from '../errors/error-message.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { parseKubernetesTarget } from '../kubernetes/kubernetes-target.js';
import { counted, duration } from '../telemetry/log/log-text.js';
import { systemClock } from '../time/clock.js';
import { findingOf, resultsOf, type CheckResult, type Finding } from './check-result.js';
import type { Env } from './doctor-options.js';
import { within, type TimeLimit } from './time-limit.js';

export const MAX_ADDRESSES = 20;

export type TargetAddress = experimental.SubchannelAddress;

/** Returns the `:authority` that grpc-js sends for a target: 'orders:50051' for 'dns:///orders:50051', 'localhost' for a Unix socket. */
export function authorityOf(canonicalTarget: string): string {
  const uri = targetUri(canonicalTarget);
  switch (uri.scheme) {
    case 'dns':
      return uri.path;
    case 'ipv4':
    case 'ipv6':
      return uri.path.replace(/,.*/, '');
    case 'kubernetes':
      return parseKubernetesTarget(uri).authority;
    default:
      return 'localhost';
  }
}

/** Returns the host in the authority of a target. By default, grpc-js requires a server certificate that is valid for this host. */
export function authorityHost(canonicalTarget: string): string {
  const authority = authorityOf(canonicalTarget);
  return dnsNameOf(authority)?.host ?? authority;
}

export type Resolution =
  | { readonly ok: true; readonly addresses: readonly TargetAddress[]; readonly tookMs: number }
  | { readonly ok: false; readonly details: string; readonly code: string | undefined; readonly tookMs: number };

export async function resolveTarget(target: string, limit: TimeLimit, timeoutMs: number): Promise<Resolution> {
  const startedAt = systemClock.now();
  let resolver: experimental.Resolver | undefined;
  const resolved = new Promise<readonly TargetAddress[]>((resolve, reject) => {
    const listener: experimental.ResolverListener = (endpoints) => {
      if (endpoints.ok) resolve(endpoints.value.flatMap(({ addresses }) => addresses));
      else reject(new Error(endpoints.error.details));
      return true;
    };
    resolver = names.createResolver?.(targetUri(target), listener, { 'grpc.service_config_disable_resolution': 1 });
    if (resolver === undefined) throw new Error('this version of @grpc/grpc-js does not export createResolver');
    resolver.updateResolution();
  });
  try {
    const addresses = await within(timeoutMs, resolved, undefined);
    const tookMs = systemClock.now() - startedAt;
    return addresses === undefined
      ? { ok: false, details: 'timed out', code: 'ETIMEDOUT', tookMs }
      : { ok: true, addresses, tookMs };
  } catch (error) {
    const tookMs = systemClock.now() - startedAt;
    return { ok: false, details: errorMessage(error), code: await lookupCode(target, limit), tookMs };
  } finally {
    resolver?.destroy();
  }
}

/** Looks up the DNS name in `target`, and returns the system's error code, which grpc-js does not report. */
async function lookupCode(target: string, limit: TimeLimit): Promise<string | undefined> {
  const name = dnsNameOf(target);
  if (name === undefined) return undefined;
  const code = lookup(name.host).then(
    () => undefined,
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  return within(limit.leftMs(2_000), code, 'ETIMEDOUT');
}

const NAME_SERVER_REMEDY =
  'check DNS on this host: the name servers in /etc/resolv.conf, and whether they are reachable on UDP port 53';

/** The HTTP proxy that connections use: its host and port, and the environment variable that sets it. */
export interface UsedProxy {
  readonly proxy: string;
  readonly variable: string;
}

/** Remedy for a proxy that must not be used. grpc-js compares `no_proxy` with a list of addresses as if the list were one host. */
const BYPASS_PROXY =
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

export function proxyCheck({ proxy, variable }: UsedProxy): CheckResult {
  const message = `connections go through the proxy ${proxy}, set by ${variable}`;
  const remedy = `if the server is on your own network, ${BYPASS_PROXY}; otherwise check that the proxy allows CONNECT`;
  return resultsOf('proxy', { proxy, variable })('warning', message, remedy);
}

export function unusableTarget(target: string, problems: readonly ConfigurationProblem[]): CheckResult {
  const named = problems.map(({ path, message }) => ({
    path: path.replace(/^doctor\.tls\.(\w+)$/, '--$1').replace(/^doctor\.url$/, 'target'),
    message,
  }));
  return resultsOf('target', { target })('failed', 'cannot create a client', undefined, named);
}

/** Checks the addresses to which the client's resolver resolves a target or, if a proxy is used, the name of the proxy. */
export function targetCheck(
  target: string,
  resolution: Resolution,
  usesOtherResolver: boolean,
  used?: UsedProxy,
): CheckResult {
  if (!resolution.ok) {
    const [message, remedy] = unresolved(target, resolution, used);
    return resultsOf('target', { target, ...resolution })('failed', message, remedy);
  }
  const { addresses: all, tookMs } = resolution;
  const addresses = all.slice(0, MAX_ADDRESSES).map(addressKey);
  const result = resultsOf('target', { target, addresses, total: all.length, tookMs: Math.round(tookMs) });
  const list = addresses.join(', ');
  // Through a proxy, no address is probed.
  const first = `, first ${String(MAX_ADDRESSES)} ${used === undefined ? 'tried' : 'shown'}`;
  const cut = all.length > MAX_ADDRESSES ? first : '';
  const message = `${counted(all.length, 'address', 'addresses')} in ${duration(tookMs)}${cut}: ${list || 'none'}`;
  if (addresses.length === 0)
    return result('failed', message, 'check the pods; a headless service without ready pods has no addresses');
  if (lacksPort(target)) return result('warning', message, 'add the port; gRPC uses 443 by default');
  if (dnsNameOf(target)?.authority !== undefined && !usesOtherResolver) {
    const remedy = 'set GRPC_NODE_USE_ALTERNATIVE_RESOLVER=true; otherwise the name server in the target is ignored';
    return result('warning', `${message}; resolved by the system's name server`, remedy);
  }
  return result('ok', message);
}

function unresolved(
  target: string,
  { details, code = '' }: Resolution & { readonly ok: false },
  used?: UsedProxy,
): Finding {
  const subject =
    used === undefined
      ? `the name ${dnsNameOf(target)?.host ?? target}`
      : `the proxy ${used.proxy}, set by ${used.variable},`;
  const [cause, remedy] = findingOf('name-not-resolved');
  const why =
    code === 'ENOTFOUND'
      ? `the name does not exist (${code})`
      : code === 'EAI_AGAIN' || code === 'ETIMEDOUT'
        ? `the name server does not respond (${code})`
        : undefined;
  if (used !== undefined)
    return [`${subject} ${cause}: ${why ?? details}`, `correct ${used.variable}; to bypass the proxy, ${BYPASS_PROXY}`];
  if (why !== undefined && dnsNameOf(target) !== undefined)
    return [`${subject} ${cause}: ${why}`, code === 'ENOTFOUND' ? remedy : NAME_SERVER_REMEDY];
  const scheme = /^([a-z][a-z\d+.-]*):(?!\d+$)/i.exec(target)?.[1] ?? 'dns';
  const text = code === '' ? details : `${details} (${code})`;
  if (['dns', 'unix', 'ipv4', 'ipv6'].includes(scheme))
    return [text, 'write host:port, dns:///host:port, ipv4:10.0.0.7:50051, or unix:/path'];
  // The kubernetes check, which ran before, reports the other problems of its service.
  if (scheme === 'kubernetes') return [text, 'check that the API server responds, then run the doctor again'];
  const elsewhere = 'if the application registers its own resolver (xds:), use an address that it returns';
  return [`grpc-js has no built-in resolver for '${scheme}:'`, `write dns:///host:port; ${elsewhere}`];
}
