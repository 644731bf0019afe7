import 'reflect-metadata';
import { once } from 'node:events';
import http from 'node:http';
import { Controller, Module, Sse } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { NEVER } from 'rxjs';
import { reproduce } from './support/reproduce.mjs';
import { within } from './support/waiting.mjs';

class FeedController {
  feed() {
    return NEVER;
  }
}
const feed = Object.getOwnPropertyDescriptor(FeedController.prototype, 'feed');
Reflect.decorate([Sse('feed')], FeedController.prototype, 'feed', feed);
Reflect.decorate([Controller()], FeedController);
class AppModule {}
Reflect.decorate([Module({ controllers: [FeedController] })], AppModule);

await reproduce('@nestjs/core', async () => {
  const app = await NestFactory.create(AppModule, { logger: false });
  await app.listen(0, '127.0.0.1');
  const [response] = await once(http.get(`${await app.getUrl()}/feed`), 'response');
  response.resume();
  const closed = app.close().then(() => true);
  return !(await within(1_000, closed, false));
});
