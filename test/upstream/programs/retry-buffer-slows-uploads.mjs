import grpc from '@grpc/grpc-js';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';
import { connected, textClient } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

const MESSAGE = Buffer.from('0123456789abcdef');
const CPU_MS = 500;

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

await reproduce('@grpc/grpc-js', async () => {
  let received = 0;
  const { target } = await startHttp2Server((stream) => stream.on('data', ({ length }) => (received += length)));

  /** Uploads messages as fast as grpc-js accepts them; returns the bytes that the server received in `CPU_MS` of CPU time. */
  async function upload(options) {
    const client = textClient(target, options);
    await connected(client);
    const call = client.getChannel().createCall('/text.Text/Upload', Infinity, null, null, null);
    const ignoring = { onReceiveMetadata: () => {}, onReceiveMessage: () => {}, onReceiveStatus: () => {} };
    call.start(new grpc.Metadata(), ignoring);
    const before = received;
    const end = cpuMs() + CPU_MS;
    const send = () => {
      if (cpuMs() < end) call.sendMessageWithContext({ callback: send }, MESSAGE);
    };
    send();
    await becomesTrue(60_000, () => cpuMs() >= end);
    call.cancelWithStatus(grpc.status.CANCELLED, 'Enough');
    return received - before;
  }

  const small = await upload({ 'grpc.per_rpc_retry_buffer_size': 65_536 });
  const large = await upload({});
  return large < small / 2;
});
