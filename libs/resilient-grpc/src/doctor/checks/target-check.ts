import { dnsNameOf } from '../../channel/dns/dns-name.js';
import { lacksPort } from '../../channel/channel-checks.js';
import { counted, duration } from '../../telemetry/log/log-text.js';
import type { Problem } from '../../policy/service-config/problem.js';
import type { CheckResult, Finding } from '../check-result.js';
import type { Resolution } from '../resolve-target.js';
import { addressText, kindOf } from '../target-address.js';

/** Maximum number of addresses shown and probed. */
export const MAX_ADDRESSES = 20;

/** Reports the problems with which no client can be created, by the names of the command's arguments. */
export function unusableTarget(target: string, problems: readonly Problem[]): CheckResult {
  const named = problems.map(({ path, message }) => ({
    path: path.replace(/^doctor\.tls\.(\w+)$/, '--$1').replace(/^doctor\.url$/, 'target'),
    message,
  }));
  return { check: 'target', status: 'failed', message: 'cannot create a client', problems: named, facts: { target } };
}

const KNOWN_SCHEMES = ['dns', 'unix', 'ipv4', 'ipv6'];

const CAUSES: Readonly<Record<string, Finding>> = {
  ENOTFOUND: [
    'the name does not exist',
    'check the spelling, that the service exists, and that the name includes its namespace (orders.shop.svc.cluster.local)',
  ],
  EAI_AGAIN: [
    'the name server does not respond',
    'check DNS on this host: /etc/resolv.conf, and that UDP port 53 is open',
  ],
  ETIMEDOUT: [
    'the name server does not respond',
    'check DNS on this host: /etc/resolv.conf, and that UDP port 53 is open',
  ],
};

/** Checks what a target resolves to with the client's resolver. */
export function targetCheck(target: string, resolution: Resolution, usesOtherResolver: boolean): CheckResult {
  const { tookMs } = resolution;
  if (!resolution.ok) {
    const [message, remedy] = CAUSES[resolution.code ?? ''] ?? unresolvable(target, resolution.details);
    const code = resolution.code === undefined ? '' : ` (${resolution.code})`;
    return {
      check: 'target',
      status: 'failed',
      message: `${message}${code}`,
      remedy,
      facts: { target, ...resolution },
    };
  }
  const { length: total } = resolution.addresses;
  const addresses = resolution.addresses
    .slice(0, MAX_ADDRESSES)
    .map((address) => ({ address: addressText(address), kind: kindOf(address) }));
  const facts = { target, addresses, total, tookMs: Math.round(tookMs) };
  const list = addresses.map(({ address, kind }) => `${address} (${kind})`).join(', ');
  const tried = total > MAX_ADDRESSES ? `, first ${String(MAX_ADDRESSES)} tried` : '';
  const message = `${counted(total, 'address', 'addresses')} in ${duration(tookMs)}${tried}: ${list || 'none'}`;
  if (addresses.length === 0) {
    const remedy = 'check the pods; a headless service without ready pods has no addresses';
    return { check: 'target', status: 'failed', message, remedy, facts };
  }
  if (lacksPort(target)) {
    return { check: 'target', status: 'warning', message, remedy: 'add the port; gRPC uses 443 by default', facts };
  }
  if (dnsNameOf(target)?.authority !== undefined && !usesOtherResolver) {
    const remedy = 'set GRPC_NODE_USE_ALTERNATIVE_RESOLVER=true; otherwise the name server in the target is ignored';
    return {
      check: 'target',
      status: 'warning',
      message: `${message}; resolved by the system's name server`,
      remedy,
      facts,
    };
  }
  return { check: 'target', status: 'ok', message, facts };
}

function unresolvable(target: string, details: string): Finding {
  const scheme = /^([a-z][a-z\d+.-]*):(?!\d+$)/i.exec(target)?.[1];
  if (scheme === undefined || KNOWN_SCHEMES.includes(scheme)) {
    return [details, 'write host:port, dns:///host:port, ipv4:10.0.0.7:50051, or unix:/path'];
  }
  const elsewhere = 'if the application registers its own resolver (xds:), use an address that it returns';
  return [`grpc-js has no built-in resolver for '${scheme}:'`, `write dns:///host:port; ${elsewhere}`];
}
