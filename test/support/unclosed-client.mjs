// Makes two calls. After each, prints the id of the order and the health of the connections. Does not close its client or call exit().
// SETTINGS are the settings of the client, as JSON. Usage:
//   node unclosed-client.mjs URL PROTO SETTINGS
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';

const [url, protoPath, settings] = process.argv.slice(2);

class AppModule {}
const app = await NestFactory.createApplicationContext(
  {
    module: AppModule,
    imports: [ResilientGrpcModule.forFeature([{ name: 'orders', url, protoPath, ...JSON.parse(settings) }])],
  },
  { logger: false },
);
const client = app.get(getGrpcClientToken('orders'));
for (let call = 0; call < 2; call++) {
  const { id } = await firstValueFrom(client.getService('Orders').get({ id: '7' }));
  console.log(
    id,
    client
      .snapshot()
      .connections.map(({ health }) => health)
      .join(),
  );
}
