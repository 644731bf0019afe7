import grpc from '@grpc/grpc-js';
import { EMPTY } from 'rxjs';
import { startNestTextServer } from './tools/nest-text-server.mjs';
import { reproduce } from './tools/reproduce.mjs';
import { answerOf, textClient } from './tools/text-service.mjs';

await reproduce('@nestjs/microservices', async () => {
  const { target } = await startNestTextServer({ unary: () => EMPTY });
  const answer = await answerOf(textClient(target), { deadline: Date.now() + 800 });
  return answer.code === grpc.status.DEADLINE_EXCEEDED;
});
