import { startNameServer } from './support/name-server.mjs';
import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer, textClient } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { port } = await startTextServer({});
  const names = await startNameServer();
  const client = textClient(`dns://${names.target}/orders.test:${port}`, {
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 100,
    'grpc.dns_min_time_between_resolutions_ms': 100,
    'grpc.service_config_disable_resolution': 1,
  });
  const channel = client.getChannel();
  const becomes = (ms, state) => becomesTrue(ms, () => channel.getConnectivityState(false) === state);
  channel.getConnectivityState(true);
  if (!(await becomes(60_000, grpc.connectivityState.TRANSIENT_FAILURE))) {
    throw new Error('orders.test: expected TRANSIENT_FAILURE within 60 s');
  }
  names.resolves = true;
  return !(await becomes(1_500, grpc.connectivityState.READY));
});
