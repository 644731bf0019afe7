// node calling-on-demand.mjs PROTO TARGET: makes one call per line of its input, and prints the name of the pod or the error as a line.
import 'reflect-metadata';
import { createInterface } from 'node:readline';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { firstValueFrom } from 'rxjs';

const [protoPath, url] = process.argv.slice(2);
registerKubernetesResolver();

class AppModule {}
const clients = ResilientGrpcModule.forFeature([{ name: 'echo', url, protoPath }]);
const app = await NestFactory.createApplicationContext({ module: AppModule, imports: [clients] }, { logger: false });
const echo = app.get(getGrpcClientToken('echo')).getService('Echo');
for await (const text of createInterface({ input: process.stdin })) {
  const name = await firstValueFrom(echo.unary({ text })).then(
    (response) => response.text,
    ({ message }) => message,
  );
  console.log(name);
}
await app.close();
