import grpc from '@grpc/grpc-js';
import { startHttp2Server } from './tools/plain-http2.mjs';
import { OBSERVED, subchannels } from './tools/observed-subchannels.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { connected, textClient } from './tools/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let told;
  const authority = new Promise((resolve) => (told = resolve));
  const { target } = await startHttp2Server((stream, headers) => told(headers[':authority']));
  const client = textClient(target, { 'grpc.service_config': OBSERVED, 'grpc.default_authority': 'orders.test' });
  await connected(client);
  const call = subchannels[0].getChannel().createCall('/text.Text/Unary', Infinity, null, null, null);
  const nobody = { onReceiveMetadata: () => {}, onReceiveMessage: () => {}, onReceiveStatus: () => {} };
  call.start(new grpc.Metadata(), nobody);
  call.halfClose();
  return (await authority) !== 'orders.test';
});
