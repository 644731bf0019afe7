import { dnsNameOf } from '../../channel/dns/dns-name.js';
import { lacksPort } from '../../channel/channel-checks.js';
import { counted, duration } from '../../telemetry/log/log-text.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { findingOf, resultsOf, type CheckResult, type Finding } from '../check-result.js';
import type { Resolution } from '../resolve-target.js';
import { addressText, kindOf } from '../target-address.js';
import { BYPASS_PROXY, type UsedProxy } from './proxy-check.js';

/** Maximum number of addresses shown and probed. */
export const MAX_ADDRESSES = 20;

/** Reports the problems that prevent the creation of a client, each under the name of the command's argument. */
export function unusableTarget(target: string, problems: readonly ConfigurationProblem[]): CheckResult {
  const named = problems.map(({ path, message }) => ({
    path: path.replace(/^doctor\.tls\.(\w+)$/, '--$1').replace(/^doctor\.url$/, 'target'),
    message,
  }));
  return resultsOf('target', { target })('failed', 'cannot create a client', undefined, named);
}

const KNOWN_SCHEMES = ['dns', 'unix', 'ipv4', 'ipv6'];

/** Remedy if the name server does not respond. */
const NAME_SERVER_REMEDY =
  'check DNS on this host: the name servers in /etc/resolv.conf, and whether they are reachable on UDP port 53';

/** Returns the finding for a name that does not resolve; `undefined` if `code` indicates another cause. */
function unresolvedName(name: string, code: string): Finding | undefined {
  const [cause, remedy] = findingOf('name-not-resolved');
  const subject = `${name} ${cause}`;
  switch (code) {
    case 'ENOTFOUND':
      return [`${subject}: the name does not exist (${code})`, remedy];
    case 'EAI_AGAIN':
    case 'ETIMEDOUT':
      return [`${subject}: the name server does not respond (${code})`, NAME_SERVER_REMEDY];
    default:
      return undefined;
  }
}

/** Checks the addresses to which the client's resolver resolves a target or, if a proxy is used, the name of the proxy. */
export function targetCheck(
  target: string,
  resolution: Resolution,
  usesOtherResolver: boolean,
  used?: UsedProxy,
): CheckResult {
  const { tookMs } = resolution;
  if (!resolution.ok) {
    const { code = '', details } = resolution;
    const [message, remedy] =
      used === undefined ? unresolvedTarget(target, details, code) : unresolvedProxy(used, details, code);
    return resultsOf('target', { target, ...resolution })('failed', message, remedy);
  }
  const { length: total } = resolution.addresses;
  const addresses = resolution.addresses
    .slice(0, MAX_ADDRESSES)
    .map((address) => ({ address: addressText(address), kind: kindOf(address) }));
  const result = resultsOf('target', { target, addresses, total, tookMs: Math.round(tookMs) });
  const list = addresses.map(({ address, kind }) => `${address} (${kind})`).join(', ');
  // Through a proxy, no address is probed.
  const verb = used === undefined ? 'tried' : 'shown';
  const first = total > MAX_ADDRESSES ? `, first ${String(MAX_ADDRESSES)} ${verb}` : '';
  const message = `${counted(total, 'address', 'addresses')} in ${duration(tookMs)}${first}: ${list || 'none'}`;
  if (addresses.length === 0) {
    return result('failed', message, 'check the pods; a headless service without ready pods has no addresses');
  }
  if (lacksPort(target)) return result('warning', message, 'add the port; gRPC uses 443 by default');
  if (dnsNameOf(target)?.authority !== undefined && !usesOtherResolver) {
    const remedy = 'set GRPC_NODE_USE_ALTERNATIVE_RESOLVER=true; otherwise the name server in the target is ignored';
    return result('warning', `${message}; resolved by the system's name server`, remedy);
  }
  return result('ok', message);
}

function unresolvedTarget(target: string, details: string, code: string): Finding {
  const host = dnsNameOf(target)?.host;
  const unknown = host === undefined ? undefined : unresolvedName(`the name ${host}`, code);
  return unknown ?? unresolvable(target, details, code);
}

function unresolvedProxy({ proxy, variable }: UsedProxy, details: string, code: string): Finding {
  const subject = `the proxy ${proxy}, set by ${variable},`;
  const [message] = unresolvedName(subject, code) ?? [`${subject} cannot be resolved: ${details}`];
  return [message, `correct ${variable}; to bypass the proxy, ${BYPASS_PROXY}`];
}

function unresolvable(target: string, details: string, code: string): Finding {
  const scheme = /^([a-z][a-z\d+.-]*):(?!\d+$)/i.exec(target)?.[1];
  if (scheme === undefined || KNOWN_SCHEMES.includes(scheme)) {
    return [
      code === '' ? details : `${details} (${code})`,
      'write host:port, dns:///host:port, ipv4:10.0.0.7:50051, or unix:/path',
    ];
  }
  if (scheme === 'kubernetes') {
    const [message = details, remedy = 'check that the API server responds, then run the doctor again'] =
      details.split('; ');
    return [code === '' ? message : `no endpoints: ${message} (${code})`, remedy];
  }
  const elsewhere = 'if the application registers its own resolver (xds:), use an address that it returns';
  return [`grpc-js has no built-in resolver for '${scheme}:'`, `write dns:///host:port; ${elsewhere}`];
}
