import { Observable } from 'rxjs';
import { startNestTextServer } from './support/nest-text-server.mjs';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';
import { becomesTrue, delay } from './support/waiting.mjs';

const MESSAGE = 'a message '.repeat(1_000);
const MESSAGES = 2_000;

await reproduce('@nestjs/microservices', async () => {
  let pushed = 0;
  let ended = false;
  const { target } = await startNestTextServer({
    feed: () =>
      new Observable((subscriber) => {
        const push = setInterval(() => {
          for (let turn = 0; turn < 20 && pushed < MESSAGES; turn += 1) {
            pushed += 1;
            subscriber.next(MESSAGE);
          }
        }, 1);
        return () => {
          ended = true;
          clearInterval(push);
        };
      }),
  });
  // The client does not read, so the server buffers 20 MB.
  textClient(target)
    .feed('request')
    .on('error', () => undefined)
    .pause();
  await becomesTrue(60_000, () => ended || pushed === MESSAGES);
  await delay(100);
  return !ended;
});
