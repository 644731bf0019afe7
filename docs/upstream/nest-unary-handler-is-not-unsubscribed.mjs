import { Observable } from 'rxjs';
import { startNestTextServer } from './tools/nest-text-server.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { textClient } from './tools/text-service.mjs';
import { becomesTrue } from './tools/waiting.mjs';

await reproduce('@nestjs/microservices', async () => {
  let subscribed = false;
  let unsubscribed = false;
  const { target } = await startNestTextServer({
    unary: () =>
      new Observable(() => {
        subscribed = true;
        return () => (unsubscribed = true);
      }),
  });
  const call = textClient(target).unary('request', () => undefined);
  if (!(await becomesTrue(60_000, () => subscribed))) throw new Error('no handler was called');
  call.cancel();
  return !(await becomesTrue(500, () => unsubscribed));
});
