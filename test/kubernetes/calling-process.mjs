// node calling-process.mjs PROTO TARGET [unregistered]: calls the target five times with the kubeconfig of the environment, and prints the
// names of the pods and the snapshot's `transport`, or the error, as JSON. It does not close the application. With `unregistered`, it does
// not register the Kubernetes resolver.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';

const [protoPath, url, mode] = process.argv.slice(2);

if (mode !== 'unregistered') {
  const { registerKubernetesResolver } = await import('nestjs-resilient-grpc/kubernetes');
  registerKubernetesResolver();
}

class AppModule {}
const settings = { name: 'echo', url, protoPath };
try {
  const module = { module: AppModule, imports: [ResilientGrpcModule.forFeature([settings])] };
  const app = await NestFactory.createApplicationContext(module, { logger: false, abortOnError: false });
  const client = app.get(getGrpcClientToken('echo'));
  const names = [];
  for (let i = 0; i < 5; i++) names.push((await firstValueFrom(client.getService('Echo').unary({}))).text);
  console.log(JSON.stringify({ names, transport: client.snapshot().transport }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
