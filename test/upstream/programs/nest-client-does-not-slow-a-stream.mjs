import { ClientGrpcProxy } from '@nestjs/microservices';
import { concatMap, NEVER } from 'rxjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer, TEXT } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

const MESSAGE = 'a message '.repeat(1_000);
const MESSAGES = 500;

await reproduce('@nestjs/microservices', async () => {
  let accepted = 0;
  const { target } = await startTextServer({
    feed: (call) => {
      const write = () => {
        accepted += 1;
        if (accepted < MESSAGES) call.write(MESSAGE, write);
      };
      call.write(MESSAGE, write);
    },
  });
  const options = { package: 'text', packageDefinition: { 'text.Text': TEXT }, url: target };
  const text = new ClientGrpcProxy(options).getService('Text');
  // The consumer is busy with the first message, so the client buffers 5 MB.
  text
    .feed('request')
    .pipe(concatMap(() => NEVER))
    .subscribe();
  return becomesTrue(60_000, () => accepted === MESSAGES);
});
