import { Catch } from '@nestjs/common';
import { decorate, startNestTextServer } from './tools/nest-text-server.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { answerOf, textClient } from './tools/text-service.mjs';
import { uncaught, within } from './tools/waiting.mjs';

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
