import grpc from '@grpc/grpc-js';
import { OBSERVED, subchannels } from './support/observed-subchannels.mjs';
import { reproduce } from './support/reproduce.mjs';
import { connected, startTextServer, textClient } from './support/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({ unary: (call, callback) => callback(null, 'answer') });
  const client = textClient(target, { 'grpc.service_config': OBSERVED });
  await connected(client);
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const before = timers();
  const deadline = Date.now() + 60_000;
  const call = subchannels[0].getChannel().createCall('/text.Text/Unary', deadline, null, null, null);
  await new Promise((resolve) => {
    call.start(new grpc.Metadata(), {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: () => undefined,
      onReceiveStatus: resolve,
    });
    call.sendMessageWithContext({}, Buffer.from('request'));
    call.startRead();
    call.halfClose();
  });
  return timers() > before;
});
