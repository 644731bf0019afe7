import grpc from '@grpc/grpc-js';
import { EMPTY } from 'rxjs';
import { startNestTextServer } from './support/nest-text-server.mjs';
import { reproduce } from './support/reproduce.mjs';
import { answerOf, textClient } from './support/text-service.mjs';

await reproduce('@nestjs/microservices', async () => {
  const { target } = await startNestTextServer({ unary: () => EMPTY });
  const answer = await answerOf(textClient(target), { deadline: Date.now() + 800 });
  return answer.code === grpc.status.DEADLINE_EXCEEDED;
});
