import type { TlsOptions } from '../channel/tls/tls-material.js';
import { createResilientGrpcClient } from '../client/create-client.js';
import type { InternalGrpcClient } from '../client/internal-grpc-client.js';
import { loadContract } from '../client/settings/contract.js';
import { resolveSettings } from '../client/settings/resolve-settings.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { reflectionContract } from './reflection-contract.js';

/** Creates a regular client of this library for the target, or returns the problems of its settings. The client connects on demand. */
export function doctorClient(
  url: string,
  tls: TlsOptions | undefined,
):
  | { readonly ok: true; readonly client: InternalGrpcClient }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] } {
  const contract = loadContract({ packageDefinition: reflectionContract() }, 'doctor');
  if (!contract.ok) return contract;
  const dependencies = { clock: systemClock, random: systemRandom, report: () => undefined };
  const settings = { url, ...(tls && { tls }) };
  const input = { name: 'doctor', path: 'doctor', services: contract.services, settings, defaults: undefined };
  const resolved = resolveSettings(input, dependencies);
  if (!resolved.ok) return resolved;
  return { ok: true, client: createResilientGrpcClient(resolved.settings, dependencies) };
}

/** Options of the doctor's calls: no retries, no waiting for a connection, and no propagation from an inbound call. */
export function askedOnce(timeoutMs: number) {
  return { timeoutMs, retry: false, waitForReady: false, propagate: false } as const;
}
