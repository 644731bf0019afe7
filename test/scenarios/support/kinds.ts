import { isInstalled } from '../../support/programs.js';
import type { Measured, Run, UpstreamKind } from './scenario.js';

/**
 * Returns grpc-js in plaintext and grpcio over TLS, or only grpc-js if grpcio is not installed. `swapped` exchanges plaintext and
 * TLS.
 */
export function upstreamKinds(swapped: boolean): readonly UpstreamKind[] {
  const grpcJs: UpstreamKind = { implementation: 'grpc-js', security: swapped ? 'TLS' : 'plain' };
  const grpcio: UpstreamKind = { implementation: 'grpcio', security: swapped ? 'plain' : 'TLS' };
  return isInstalled('grpcio') ? [grpcJs, grpcio] : [grpcJs];
}

/** Runs `measure` concurrently against each upstream kind of the run, and appends the upstream to the name of each figure. */
export async function againstEach(run: Run, measure: (kind: UpstreamKind) => Promise<Measured>): Promise<Measured> {
  const all = await Promise.all(
    run.kinds.map(async (kind) => {
      const measured = await measure(kind);
      const upstream = `${kind.implementation}, ${kind.security}`;
      return Object.entries(measured).map(([figure, value]) => [`${figure} @${upstream}`, value] as const);
    }),
  );
  return Object.fromEntries(all.flat());
}
