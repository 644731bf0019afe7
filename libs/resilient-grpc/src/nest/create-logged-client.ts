import { createResilientGrpcClient } from '../client/create-client.js';
import type { InternalGrpcClient } from '../client/internal-grpc-client.js';
import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import type { GrpcTelemetry } from '../telemetry/grpc-telemetry.js';
import { ClientLog } from '../telemetry/log/client-log.js';
import { debugIsRead, type LibraryLogger } from '../telemetry/log/library-logger.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';

/** Creates a client whose events are logged by `logger` until it is closed. */
export function createLoggedClient(
  settings: ResolvedClientSettings,
  logger: LibraryLogger,
  {
    clock,
    random,
    telemetry,
  }: { readonly clock: Clock; readonly random: Random; readonly telemetry?: GrpcTelemetry | undefined },
): InternalGrpcClient {
  // A warm client connects, and emits events, while it is still being created.
  const made: { client?: InternalGrpcClient } = {};
  const hurt = () => ({
    waiting: made.client?.waitingCalls ?? 0,
    failed: made.client?.failedBy('outage') ?? 0,
  });
  const { name, target } = settings;
  const log = new ClientLog(logger, { name, target, hurt, debugs: debugIsRead }, clock);
  const client = createResilientGrpcClient(settings, {
    clock,
    random,
    onEvent: (event) => {
      log.take(event);
    },
  });
  made.client = client;
  telemetry?.forClient(client);
  client.connectivity$.subscribe({
    complete: () => {
      log.close();
    },
  });
  return client;
}
