// A client in its own process, in which grpc-js queries the DNS server in the target (GRPC_NODE_USE_ALTERNATIVE_RESOLVER).
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';

const [url, protoPath] = process.argv.slice(2);

class AppModule {}
const app = await NestFactory.createApplicationContext(
  {
    module: AppModule,
    imports: [ResilientGrpcModule.forFeature([{ name: 'orders', url, protoPath, outageGraceMs: 60_000 }])],
  },
  { logger: false },
);
const client = app.get(getGrpcClientToken('orders'));
client.connectivity$.subscribe(({ state, outage, lastError }) =>
  process.send({ state, isOutage: outage !== undefined, lastError }),
);
const answer = await firstValueFrom(client.getService('Orders').get({ id: '7' })).then(
  ({ id }) => ({ id }),
  ({ message, reason }) => ({ message, reason }),
);
process.send(answer);
await app.close();
process.disconnect();
