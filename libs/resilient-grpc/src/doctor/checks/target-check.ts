import { dnsNameOf } from '../../channel/dns/dns-name.js';
import { lacksPort, targetProblem } from '../../channel/channel-checks.js';
import { counted, duration } from '../../telemetry/log/log-text.js';
import type { Problem } from '../../policy/service-config/problem.js';
import type { CheckResult } from '../check-result.js';
import type { Resolution } from '../resolve-target.js';
import { addressText, kindOf } from '../target-address.js';

/** Maximum number of addresses shown and probed. */
export const MAX_ADDRESSES = 20;

/** Returns a failure if no client can be created for the target; otherwise `undefined`. */
export function unusableTarget(target: string): CheckResult | undefined {
  const problem = targetProblem(target);
  if (problem === undefined) return undefined;
  const [says = '', remedy] = problem.split('; ');
  return { check: 'target', status: 'failed', says, ...(remedy !== undefined && { remedy }), facts: { target } };
}

/** Reports TLS options with which no client can be created. */
export function unusableTls(target: string, problems: readonly Problem[]): CheckResult {
  const named = problems.map(({ path, message }) => ({ path: path.replace(/^doctor\.tls\.(\w+)$/, '--$1'), message }));
  return {
    check: 'target',
    status: 'failed',
    says: 'no client can be made',
    problems: named,
    facts: { target },
  };
}

const KNOWN_SCHEMES = ['dns', 'unix', 'ipv4', 'ipv6'];

const CAUSES: Readonly<Record<string, readonly [says: string, remedy: string]>> = {
  ENOTFOUND: [
    'there is no such name',
    'is it spelt right, does the service exist, and is its namespace in the name (orders.shop.svc.cluster.local)?',
  ],
  EAI_AGAIN: [
    'the name server does not answer',
    'look at DNS here: /etc/resolv.conf, and whether UDP 53 is let through',
  ],
  ETIMEDOUT: [
    'the name server does not answer',
    'look at DNS here: /etc/resolv.conf, and whether UDP 53 is let through',
  ],
};

/** Checks what a target resolves to with the client's resolver. */
export function targetCheck(target: string, resolution: Resolution, usesOtherResolver: boolean): CheckResult {
  const { tookMs } = resolution;
  if (!resolution.ok) {
    const [says, remedy] = CAUSES[resolution.code ?? ''] ?? unresolvable(target, resolution.details);
    const code = resolution.code === undefined ? '' : ` (${resolution.code})`;
    return { check: 'target', status: 'failed', says: `${says}${code}`, remedy, facts: { target, ...resolution } };
  }
  const { length: total } = resolution.addresses;
  const addresses = resolution.addresses
    .slice(0, MAX_ADDRESSES)
    .map((address) => ({ address: addressText(address), kind: kindOf(address) }));
  const facts = { target, addresses, total, tookMs: Math.round(tookMs) };
  const list = addresses.map(({ address, kind }) => `${address} (${kind})`).join(', ');
  const tried = total > MAX_ADDRESSES ? `, of which ${String(MAX_ADDRESSES)} are tried` : '';
  const says = `${counted(total, 'address', 'addresses')} in ${duration(tookMs)}${tried}: ${list || 'none'}`;
  if (addresses.length === 0) {
    return {
      check: 'target',
      status: 'failed',
      says,
      remedy: 'a headless service without ready pods has none: look at them',
      facts,
    };
  }
  if (lacksPort(target)) {
    return {
      check: 'target',
      status: 'warning',
      says,
      remedy: 'write the port: gRPC takes 443 for want of one',
      facts,
    };
  }
  if (dnsNameOf(target)?.authority !== undefined && !usesOtherResolver) {
    const remedy = 'the name server in the target is asked only where GRPC_NODE_USE_ALTERNATIVE_RESOLVER=true is set';
    return { check: 'target', status: 'warning', says: `${says}; by the system's name server`, remedy, facts };
  }
  return { check: 'target', status: 'ok', says, facts };
}

function unresolvable(target: string, details: string): readonly [says: string, remedy: string] {
  const scheme = /^([a-z][a-z\d+.-]*):(?!\d+$)/i.exec(target)?.[1];
  if (scheme === undefined || KNOWN_SCHEMES.includes(scheme)) {
    return [details, 'see how targets are written: host:port, dns:///host:port, ipv4:10.0.0.7:50051, unix:/path'];
  }
  const elsewhere = 'where the application registers a resolver of its own (xds:), name an address that it gives';
  return [`grpc-js knows no '${scheme}:' by itself`, `write dns:///host:port; ${elsewhere}`];
}
