import { Catch } from '@nestjs/common';
import { decorate, startNestTextServer } from './support/nest-text-server.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';
import { uncaught, within } from './support/waiting.mjs';

class ThrowingFilter {
  catch(exception) {
    throw exception;
  }
}
decorate([Catch()], ThrowingFilter);

await reproduce('@nestjs/microservices', async () => {
  const unary = () => {
    throw new Error('no tea');
  };
  const { target } = await startNestTextServer({ unary }, {}, [new ThrowingFilter()]);
  const ends = uncaught().then(() => true);
  void answerOf(textClient(target), { deadline: Date.now() + 60_000 });
  return within(60_000, ends, false);
});
