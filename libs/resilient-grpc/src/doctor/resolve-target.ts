import { lookup } from 'node:dns/promises';
import type { experimental } from '@grpc/grpc-js';
import { dnsNameOf } from '../channel/dns/dns-name.js';
import { experimental as names } from '../channel/quirks/experimental.js';
import type { TargetAddress } from './target-address.js';
import { systemClock } from '../time/clock.js';
import { within, type TimeBudget } from './time-budget.js';
import { errorMessage } from '../errors/error-message.js';

/** The addresses of a target, or the reason why resolving it failed. */
export type Resolution =
  | { readonly ok: true; readonly addresses: readonly TargetAddress[]; readonly tookMs: number }
  | { readonly ok: false; readonly details: string; readonly code: string | undefined; readonly tookMs: number };

// The same expression as in grpc-js, whose parser is not part of its public API.
const URI = /^(?:([A-Za-z0-9+.-]+):)?(?:\/\/([^/]*)\/)?(.+)$/;

/** Parses a target with its scheme into the form that grpc-js's resolvers expect. */
export function targetUri(canonicalTarget: string): experimental.GrpcUri {
  const [, scheme, authority, path = ''] = URI.exec(canonicalTarget) ?? [];
  return { ...(scheme !== undefined && { scheme }), ...(authority !== undefined && { authority }), path };
}

/** Resolves a target once, with the resolver that a channel would use. */
export async function resolveTarget(
  canonicalTarget: string,
  budget: TimeBudget,
  timeoutMs: number,
): Promise<Resolution> {
  const startedAt = systemClock.now();
  const took = () => systemClock.now() - startedAt;
  const failed = (details: string): Resolution => ({ ok: false, details, code: undefined, tookMs: took() });
  let resolver: experimental.Resolver | undefined;
  const resolved = new Promise<Resolution>((resolve) => {
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
      if (resolver === undefined) resolve(failed('this version of @grpc/grpc-js does not export createResolver'));
      resolver?.updateResolution();
    } catch (error) {
      resolve(failed(errorMessage(error)));
    }
  });
  const late = { ok: false, details: 'timed out', code: 'ETIMEDOUT', tookMs: timeoutMs } as const;
  const found = await within(timeoutMs, resolved, late);
  resolver?.destroy();
  return found.ok || found.code !== undefined ? found : { ...found, code: await causeOf(canonicalTarget, budget) };
}

/**
 * Looks up the DNS name in `target`, and returns the system's error code, which grpc-js does not report. Returns 'ETIMEDOUT' if the lookup
 * exceeds 2 s or the remaining time, whichever is shorter. Returns `undefined` if the lookup succeeds, or if `target` contains no DNS name.
 */
async function causeOf(target: string, budget: TimeBudget): Promise<string | undefined> {
  const name = dnsNameOf(target);
  if (name === undefined) return undefined;
  const code = lookup(name.host).then(
    () => undefined,
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  return within(budget.leftMs(2_000), code, 'ETIMEDOUT');
}
