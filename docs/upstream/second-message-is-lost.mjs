import grpc from '@grpc/grpc-js';
import { reproduce } from './tools/reproduce.mjs';
import { connected, startTextServer, textClient } from './tools/text-service.mjs';

await reproduce('@grpc/grpc-js', async () => {
  const { target } = await startTextServer({
    upload: (call, callback) => {
      let messages = 0;
      call.on('data', () => (messages += 1));
      call.on('end', () => callback(null, String(messages)));
    },
  });
  const client = textClient(target);
  await connected(client);
  const call = client.getChannel().createCall('/text.Text/Upload', Infinity, null, null, null);
  const received = await new Promise((resolve) => {
    call.start(new grpc.Metadata(), {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: (bytes) => resolve(Number(bytes.toString())),
      onReceiveStatus: (status) => resolve(status.code === grpc.status.OK ? 0 : Infinity),
    });
    for (let sent = 0; sent < 5; sent += 1) call.sendMessageWithContext({}, Buffer.from('message'));
    call.startRead();
    call.halfClose();
  });
  return received < 5;
});
