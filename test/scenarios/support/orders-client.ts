import type { GrpcClientSettings, ResilientGrpcModuleOptions } from 'nestjs-resilient-grpc';
import { startOrdersApp, type OrdersApp } from '../../support/orders-app.js';
import type { Run, UpstreamKind } from './scenario.js';
import { Upstream, type UpstreamOptions } from './upstream.js';

/** Starts an upstream that is closed at the end of the run. */
export async function startUpstream(run: Run, kind: UpstreamKind, options: UpstreamOptions = {}): Promise<Upstream> {
  return run.closeAtEnd(await Upstream.start(kind, options));
}

/**
 * Outage grace period of a client: the default, or ten minutes if only counts are judged, because recovery on a busy machine can exceed the
 * default.
 */
export function outageGrace({ which }: Run): Pick<GrpcClientSettings, 'outageGraceMs'> {
  return which === 'counts' ? { outageGraceMs: 600_000 } : {};
}

/** Starts a Nest application with a client of `upstream`. The application is closed at the end of the run. */
export async function startClientOf(
  run: Run,
  upstream: Upstream,
  settings: Partial<GrpcClientSettings> = {},
  root?: ResilientGrpcModuleOptions,
): Promise<OrdersApp> {
  return run.closeAtEnd(await startOrdersApp({ url: upstream.url, ...upstream.settings, ...settings }, root));
}
