import { ClientGrpcProxy } from '@nestjs/microservices';
import { concatMap, NEVER } from 'rxjs';
import { reproduce } from './tools/reproduce.mjs';
import { startTextServer, TEXT } from './tools/text-service.mjs';
import { becomesTrue } from './tools/waiting.mjs';

const MESSAGE = 'a message '.repeat(1_000);
const MESSAGES = 500;

await reproduce('@nestjs/microservices', async () => {
  let taken = 0;
  const { target } = await startTextServer({
    feed: (call) => {
      const write = () => {
        taken += 1;
        if (taken < MESSAGES) call.write(MESSAGE, write);
      };
      call.write(MESSAGE, write);
    },
  });
  const options = { package: 'text', packageDefinition: { 'text.Text': TEXT }, url: target };
  const text = new ClientGrpcProxy(options).getService('Text');
  // It is busy with the first message: 5 MB are held for it.
  text
    .feed('request')
    .pipe(concatMap(() => NEVER))
    .subscribe();
  return becomesTrue(60_000, () => taken === MESSAGES);
});
