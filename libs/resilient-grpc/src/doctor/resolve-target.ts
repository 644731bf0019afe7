import { lookup } from 'node:dns/promises';
import type { experimental } from '@grpc/grpc-js';
import { dnsNameOf } from '../channel/dns/dns-name.js';
import { experimental as names } from '../channel/quirks/experimental.js';
import type { TargetAddress } from './target-address.js';
import type { TimeBudget } from './time-budget.js';

/** Addresses of a target, or why there are none. */
export type Resolution =
  | { readonly ok: true; readonly addresses: readonly TargetAddress[]; readonly tookMs: number }
  | { readonly ok: false; readonly details: string; readonly code: string | undefined; readonly tookMs: number };

// As in grpc-js, whose own parser is no part of its interface.
const URI = /^(?:([A-Za-z0-9+.-]+):)?(?:\/\/([^/]*)\/)?(.+)$/;

/** A target with its scheme in its parts, as grpc-js's resolvers take it. */
export function targetUri(canonicalTarget: string): experimental.GrpcUri {
  const [, scheme, authority, path = ''] = URI.exec(canonicalTarget) ?? [];
  return { ...(scheme !== undefined && { scheme }), ...(authority !== undefined && { authority }), path };
}

/** Asks the resolver that the channel would ask, once. */
export async function resolveTarget(
  canonicalTarget: string,
  budget: TimeBudget,
  timeoutMs: number,
): Promise<Resolution> {
  const startedAt = budget.clock.now();
  const took = () => budget.clock.now() - startedAt;
  const failed = (details: string): Resolution => ({ ok: false, details, code: undefined, tookMs: took() });
  let resolver: experimental.Resolver | undefined;
  const asked = new Promise<Resolution>((resolve) => {
    const listener: experimental.ResolverListener = (endpoints) => {
      if (!endpoints.ok) resolve(failed(endpoints.error.details));
      else {
        const addresses = endpoints.value.flatMap((endpoint) => endpoint.addresses);
        resolve({ ok: true, addresses, tookMs: took() });
      }
      return true;
    };
    try {
      resolver = names.createResolver?.(targetUri(canonicalTarget), listener, {
        'grpc.service_config_disable_resolution': 1,
      });
      if (resolver === undefined) resolve(failed('this @grpc/grpc-js makes no resolver for programs (createResolver)'));
      resolver?.updateResolution();
    } catch (error) {
      resolve(failed(error instanceof Error ? error.message : String(error)));
    }
  });
  const late = { ok: false, details: 'no answer', code: 'ETIMEDOUT', tookMs: timeoutMs } as const;
  const found = await budget.within(timeoutMs, asked, late);
  resolver?.destroy();
  return found.ok || found.code !== undefined ? found : { ...found, code: await causeOf(canonicalTarget, budget) };
}

/** What the system says of the name: grpc-js keeps that to itself. */
async function causeOf(target: string, budget: TimeBudget): Promise<string | undefined> {
  const name = dnsNameOf(target);
  if (name === undefined) return undefined;
  const asked = lookup(name.host).then(
    () => undefined,
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  return budget.within(budget.leftMs(2_000), asked, 'ETIMEDOUT');
}
