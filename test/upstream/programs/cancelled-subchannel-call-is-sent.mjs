import grpc from '@grpc/grpc-js';
import { OBSERVED, subchannels } from './support/observed-subchannels.mjs';
import { reproduce } from './support/reproduce.mjs';
import { connected, startTextServer, textClient } from './support/text-service.mjs';
import { becomesTrue, delay } from './support/waiting.mjs';

await reproduce('@grpc/grpc-js', async () => {
  let handled = 0;
  let cancelled = 0;
  const feed = (call) => {
    handled += 1;
    call.on('cancelled', () => (cancelled += 1));
  };
  const { target } = await startTextServer({ feed });
  const client = textClient(target, { 'grpc.service_config': OBSERVED });
  await connected(client);
  const call = subchannels[0].getChannel().createCall('/text.Text/Feed', Infinity, null, null, null);
  const ignoring = { onReceiveMetadata: () => {}, onReceiveMessage: () => {}, onReceiveStatus: () => {} };
  call.start(new grpc.Metadata(), ignoring);
  call.sendMessageWithContext({}, Buffer.from('request'));
  call.startRead();
  call.halfClose();
  call.cancelWithStatus(grpc.status.CANCELLED, 'Cancelled');
  if (!(await becomesTrue(60_000, () => handled === 1))) return false;
  await delay(300);
  return cancelled === 0;
});
