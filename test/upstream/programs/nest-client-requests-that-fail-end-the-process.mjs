import { ClientGrpcProxy } from '@nestjs/microservices';
import { throwError } from 'rxjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer, TEXT } from './support/text-service.mjs';
import { uncaught, within } from './support/waiting.mjs';

await reproduce('@nestjs/microservices', async () => {
  const { target } = await startTextServer({ chat: (call) => call.end() });
  const options = { package: 'text', packageDefinition: { 'text.Text': TEXT }, url: target };
  const text = new ClientGrpcProxy(options).getService('Text');
  const ends = uncaught().then(() => true);
  text.chat(throwError(() => new Error('no tea'))).subscribe({ error: () => undefined });
  return within(60_000, ends, false);
});
