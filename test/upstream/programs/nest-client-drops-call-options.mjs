import { ClientGrpcProxy } from '@nestjs/microservices';
import { EMPTY } from 'rxjs';
import { reproduce } from './support/reproduce.mjs';
import { startTextServer, TEXT } from './support/text-service.mjs';

await reproduce('@nestjs/microservices', async () => {
  let resolveDeadline;
  const deadline = new Promise((resolve) => (resolveDeadline = resolve));
  const { target } = await startTextServer({ upload: (call) => resolveDeadline(call.getDeadline()) });
  const options = { package: 'text', packageDefinition: { 'text.Text': TEXT }, url: target };
  const text = new ClientGrpcProxy(options).getService('Text');
  text.upload(EMPTY, undefined, { deadline: Date.now() + 5_000 }).subscribe({ error: () => undefined });
  return (await deadline) === Infinity;
});
