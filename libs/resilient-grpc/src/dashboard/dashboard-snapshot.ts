import type { ServerOverload } from '../call/server-event.js';
import type { GrpcClientSnapshot, Serialized } from '../client/client-snapshot.js';

/**
 * State of all clients and servers at one moment, returned as JSON by the `snapshot` path of the dashboard. Within a version, properties
 * may be added, but none is removed or changes its meaning.
 */
export interface DashboardSnapshot {
  readonly version: 1;
  /** Time of the snapshot, in ISO 8601. */
  readonly at: string;
  /** True until the application starts to shut down. */
  readonly accepting: boolean;
  readonly clients: readonly GrpcClientSnapshot[];
  readonly servers: readonly DashboardServer[];
}

export interface DashboardServer {
  readonly address: string;
  readonly overload: Serialized<ServerOverload>;
}
