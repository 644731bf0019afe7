import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** Standard output belongs to the report; Nest's own logger writes there. */
const toStandardError = {
  log() {
    // The lines of a start say nothing about the benchmark.
  },
  /** @param {unknown} message */
  warn(message) {
    console.error(message);
  },
  /** @param {unknown} message */
  error(message) {
    console.error(message);
  },
};

/**
 * A Nest application of these modules, for Nest's client and for ours: neither is used without one.
 *
 * @param {readonly import('@nestjs/common').DynamicModule[]} imports
 * @returns {Promise<import('@nestjs/common').INestApplicationContext>}
 */
export async function openApplication(imports) {
  const BenchModule = class {};
  Module({ imports: [...imports] })(BenchModule);
  const app = await NestFactory.createApplicationContext(BenchModule, { logger: toStandardError });
  app.enableShutdownHooks();
  return app;
}
