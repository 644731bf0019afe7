import { ClientGrpcProxy } from '@nestjs/microservices';
import { throwError } from 'rxjs';
import { reproduce } from './tools/reproduce.mjs';
import { startTextServer, TEXT } from './tools/text-service.mjs';
import { uncaught, within } from './tools/waiting.mjs';

await reproduce('@nestjs/microservices', async () => {
  const { target } = await startTextServer({ chat: (call) => call.end() });
  const options = { package: 'text', packageDefinition: { 'text.Text': TEXT }, url: target };
  const text = new ClientGrpcProxy(options).getService('Text');
  const ends = uncaught().then(() => true);
  text.chat(throwError(() => new Error('no tea'))).subscribe({ error: () => undefined });
  return within(60_000, ends, false);
});
