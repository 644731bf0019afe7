import { isInstalled } from '../../support/programs.js';
import type { Measured, Run, UpstreamKind } from './situation.js';

/** Both implementations, one of them plain and the other one over TLS: `swapped` or not. */
export function upstreamKinds(swapped: boolean): readonly UpstreamKind[] {
  const own: UpstreamKind = { implementation: 'grpc-js', security: swapped ? 'TLS' : 'plain' };
  const pythons: UpstreamKind = { implementation: 'grpcio', security: swapped ? 'plain' : 'TLS' };
  return isInstalled('grpcio') ? [own, pythons] : [own];
}

/** Plays against all kinds of upstreams at the same time, and names each figure with the upstream it is of. */
export async function againstEach(run: Run, play: (kind: UpstreamKind) => Promise<Measured>): Promise<Measured> {
  const all = await Promise.all(
    run.kinds.map(async (kind) => {
      const measured = await play(kind);
      const upstream = `${kind.implementation}, ${kind.security}`;
      return Object.entries(measured).map(([figure, value]) => [`${figure} @${upstream}`, value] as const);
    }),
  );
  return Object.fromEntries(all.flat());
}
