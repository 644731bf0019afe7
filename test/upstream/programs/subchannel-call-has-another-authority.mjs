import grpc from '@grpc/grpc-js';
import { startHttp2Server } from './support/plain-http2.mjs';
import { OBSERVED, subchannels } from './support/observed-subchannels.mjs';
import { reproduce } from './support/reproduce.mjs';
import { connected, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let resolveAuthority;
  const authority = new Promise((resolve) => (resolveAuthority = resolve));
  const { target } = await startHttp2Server((stream, headers) => resolveAuthority(headers[':authority']));
  const client = textClient(target, { 'grpc.service_config': OBSERVED, 'grpc.default_authority': 'orders.test' });
  await connected(client);
  const call = subchannels[0].getChannel().createCall('/text.Text/Unary', Infinity, null, null, null);
  const ignoring = { onReceiveMetadata: () => {}, onReceiveMessage: () => {}, onReceiveStatus: () => {} };
  call.start(new grpc.Metadata(), ignoring);
  call.halfClose();
  return (await authority) !== 'orders.test';
});
