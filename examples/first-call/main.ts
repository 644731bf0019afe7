// #region all
import { NestFactory } from '@nestjs/core';
import { OrdersModule } from './orders.module.js';

async function bootstrap() {
  const app = await NestFactory.create(OrdersModule, { logger: ['log', 'warn', 'error'] });
  app.enableShutdownHooks(); // calls in flight finish on SIGTERM
  await app.listen(process.argv[2] ?? 3000);
  console.log(`listening on ${await app.getUrl()}`);
}
void bootstrap();
// #endregion
