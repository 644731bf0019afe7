import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer, textClient } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({});
  const client = textClient(target);
  const channel = client.getChannel();
  client.close();
  channel.getConnectivityState(true);
  return becomesTrue(60_000, () => channel.getConnectivityState(false) === grpc.connectivityState.READY);
});
