import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';

/**
 * Creates a Nest application with these modules, for Nest's client and for this library.
 *
 * @param {readonly import('@nestjs/common').DynamicModule[]} imports
 * @returns {Promise<import('@nestjs/common').INestApplicationContext>}
 */
export async function openApplication(imports) {
  const module = { module: class BenchModule {}, imports: [...imports] };
  // Nest writes errors to standard error. Other messages would mix with the output of programs that use a contender.
  const app = await NestFactory.createApplicationContext(module, { logger: ['error'] });
  app.enableShutdownHooks();
  return app;
}
