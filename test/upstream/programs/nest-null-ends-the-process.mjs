import { timer, map } from 'rxjs';
import { startNestTextServer } from './support/nest-text-server.mjs';
import { reproduce } from './support/reproduce.mjs';
import { textClient } from './support/text-service.mjs';
import { uncaught, within } from './support/waiting.mjs';

await reproduce('@nestjs/microservices', async () => {
  const { target } = await startNestTextServer({ feed: () => timer(10).pipe(map(() => null)) });
  const ends = uncaught().then(() => true);
  textClient(target)
    .feed('request')
    .on('error', () => undefined)
    .resume();
  return within(60_000, ends, false);
});
