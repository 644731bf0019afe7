import { Observable } from 'rxjs';
import { startNestTextServer } from './support/nest-text-server.mjs';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';
import { becomesTrue } from './support/waiting.mjs';

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
